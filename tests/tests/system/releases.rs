//! Upgrades: what each earlier release left behind is read, resumed and obeyed by this build.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::newer_formats::{on_the_page, sorted_parts};
use sandbox::{Dialect, FaultRule, GateOptions};
use serde_json::Value;
use system_tests::releases::{Exchange, FLUSH_EVERY, Home, LANES, RUN, Release, Site, converse};
use system_tests::{Ran, Rig, run_in};
use wsp::StreamReport;
use wsp::control::find;

const PATIENCE: Duration = Duration::from_mins(1);

/// A gate that remembers the ids of what came.
fn gate() -> GateOptions {
    GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    }
}

/// Streams what a release left, and holds what came to both gates against the world.
#[track_caller]
fn assert_resumed(release: &Release, site: &Site) -> Ran {
    let version = &release.facts.version;
    let facts = release.site(site.home().name());
    let before: BTreeSet<String> = facts.at_the_gate.iter().cloned().collect();
    let aside: BTreeSet<String> = site.set_aside().into_iter().collect();
    // The run is not named: the file of the active run, or the cursors, tell which it is.
    let ran = site.run(&["stream"], &[]);
    ran.expect(0, "");
    assert_eq!(ran.report["platform_run_id"], RUN, "{version}");
    let after = site.ids_at_the_gate();
    let repeated = before
        .union(&aside)
        .filter(|id| after.contains(*id))
        .count() as u64;
    let bound = if facts.killed { FLUSH_EVERY + LANES } else { 0 };
    assert!(repeated <= bound, "{version}: {repeated} came again");
    let mut all = before;
    all.extend(aside);
    all.extend(after);
    assert_eq!(
        all.len() as u64,
        release.facts.rows,
        "{version}: an event is lost"
    );
    ran
}

#[test]
fn cursors_of_every_release_and_backend_are_gone_on_from() {
    for release in Release::all() {
        for home in Home::ALL {
            let site = Site::restored(&release, home, gate(), &[]);
            assert_resumed(&release, &site);
            // What this build saved is gone on from, too: there is nothing left.
            let again = site.run(&["stream"], &[]);
            again.expect(0, "");
            assert_eq!(again.report["emitted"], 0, "{:?}", home.name());
        }
    }
}

#[test]
fn a_cursor_of_every_release_is_shown_before_anything_is_written() {
    for release in Release::all() {
        for home in Home::ALL {
            let site = Site::restored(&release, home, gate(), &[]);
            let shown = site.run(&["checkpoint", "show"], &["--platform-run-id", RUN]);
            shown.expect(0, "");
            let text = shown.report.to_string();
            for output in site.rig.world.streamable_output_ids() {
                assert!(text.contains(&output), "{}: {text}", home.name());
            }
            assert!(text.contains(RUN), "{}: {text}", home.name());
        }
    }
}

#[test]
fn the_quarantine_of_every_release_is_redriven_and_what_it_had_closed_stays_closed() {
    for release in Release::all() {
        for home in [Home::File, Home::Object] {
            let site = Site::restored(&release, home, gate(), &[]);
            let aside: BTreeSet<String> = site.set_aside().into_iter().collect();
            assert!(aside.len() > 2, "{}: {aside:?}", home.name());
            let ran = site.run(&["redrive"], &["--platform-run-id", RUN]);
            ran.expect(0, "");
            assert_eq!(ran.report["redriven_before"], 1, "{}", ran.report);
            assert_eq!(
                ran.report["redriven"],
                aside.len() as u64 - 1,
                "{}",
                ran.report
            );
            let came = site.ids_at_the_gate();
            assert!(came.is_subset(&aside), "another event was pushed");
            assert_eq!(
                came.len(),
                aside.len() - 1,
                "each once, but the one given up"
            );
            let again = site.run(&["redrive"], &["--platform-run-id", RUN]);
            again.expect(0, "");
            assert_eq!(again.report["redriven"], 0);
        }
    }
}

#[test]
fn sorted_parts_are_used_by_the_version_that_made_them_and_made_again_by_another() {
    for release in Release::all() {
        // Another run streams from the beginning, so that both parts are wanted.
        let scope = [("wiring.wsp_checkpoint.scope", "platform_run")];
        let site = Site::restored(&release, Home::File, gate(), &scope);
        let cache = site.rig.runs_root().join("wsp/sort_cache");
        let before = sorted_parts(&cache);
        assert_eq!(before.len(), 2, "{before:?}");
        let ours = (
            on_the_page("sort cache"),
            env!("CARGO_PKG_VERSION").to_owned(),
        );
        let sorted_already = before.iter().filter(|made_by| **made_by == ours).count();
        let other = ["--platform-run-id", "platform_20260129T090000Z"];
        let planned = site.run(&["plan"], &other);
        planned.expect(0, "");
        let sorting = &planned.report["sorting"];
        assert_eq!(sorting["sorted_already"], sorted_already, "{sorting}");
        let ran = site.run(&["stream"], &other);
        ran.expect(0, "");
        assert_eq!(ran.report["emitted"], release.facts.rows);
        let after = sorted_parts(&cache);
        let made = after.iter().filter(|made_by| **made_by == ours).count();
        assert_eq!(made, 2, "each part is sorted once: {after:?}");
    }
}

/// The time index of a site: the one file of that name.
fn time_index(site: &Site) -> PathBuf {
    fn look(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, found);
            } else if path
                .file_name()
                .is_some_and(|name| name == "time_index.jsonl")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    look(&site.rig.runs_root(), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_time_index_of_every_release_is_used_or_made_again_and_never_stops_a_run() {
    for release in Release::all() {
        let site = Site::restored(&release, Home::File, gate(), &[]);
        let before = std::fs::read_to_string(time_index(&site)).unwrap();
        let ran = site.run(&["stream"], &["--max-events", "1"]);
        ran.expect(0, "MAX_EVENTS");
        let after = std::fs::read_to_string(time_index(&site)).unwrap();
        let header = |text: &str| text.lines().next().unwrap().to_owned();
        if header(&before) == header(&after) {
            assert_eq!(before, after, "of one format, what was learnt stays");
            assert!(!ran.stderr.contains("time index"), "{}", ran.stderr);
        } else {
            assert!(
                ran.stderr.contains("time index is of another version"),
                "{}",
                ran.stderr
            );
        }
    }
}

#[test]
fn stream_views_as_every_release_read_them_are_streamed() {
    for release in Release::all() {
        let view = [("policy.stream_source", "view")];
        let site = Site::restored_from(&release, "no site", Home::File, gate(), &view);
        let ran = site.stream(&[]);
        ran.expect(0, "");
        assert_eq!(ran.report["data_verified"], "view_receipt");
        assert_eq!(ran.report["emitted"], release.facts.rows);
    }
}

#[test]
fn a_verdict_and_a_list_of_what_the_gate_quarantined_hold_over_a_release() {
    for release in Release::all() {
        let quarantining = GateOptions {
            dialect: Some(Dialect::Local),
            faults: vec!["quarantine:SCHEMA_FAIL".parse::<FaultRule>().unwrap()],
            ..GateOptions::default()
        };
        let home = Home::File;
        let site = Site::restored_from(&release, "judged", home, quarantining, &[]);
        // Too few events for a verdict of its own, and none that the gate admits.
        let ran = site.stream(&["--max-events", "5"]);
        ran.expect(1, "GATE_QUARANTINED_ALL");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("An earlier run"), "{detail}");
        let listed = [("wiring.wsp_push.max_gate_quarantined", "30")];
        let bounded = Site::restored_from(&release, "judged", home, gate(), &listed);
        bounded.stream(&[]).expect(1, "GATE_QUARANTINE_LIMIT");
        assert_eq!(bounded.rig.gate.stats().posts, 0);
    }
}

#[test]
fn audit_lines_of_every_release_are_as_their_schema_says_and_are_gone_on_with() {
    let schema: Value = serde_yaml::from_str(wsp::schema::AUDIT_RECORD_SCHEMA).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    for release in Release::all() {
        let site = Site::restored(&release, Home::File, gate(), &[]);
        let path = site.run_folder().join("session.jsonl");
        let before = std::fs::read_to_string(&path).unwrap();
        let mut kinds = BTreeSet::new();
        for line in before.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert!(
                schema.is_valid(&record),
                "{}: {record}",
                release.facts.version
            );
            kinds.insert(record["event_kind"].as_str().unwrap().to_owned());
        }
        for kind in [
            "stream_start",
            "checkpoint_saved",
            "stream_steered",
            "events_given_up",
        ] {
            assert!(kinds.contains(kind), "{kinds:?}");
        }
        site.run(&["stream"], &["--max-events", "1"])
            .expect(0, "MAX_EVENTS");
        let after = std::fs::read_to_string(&path).unwrap();
        assert!(after.len() > before.len() && after.starts_with(&before));
    }
}

/// The reports that a site kept.
fn reports(release: &Release) -> Vec<PathBuf> {
    let folder = release
        .folder
        .join("sites/file/runs")
        .join(RUN)
        .join("wsp/reports");
    let reports = std::fs::read_dir(folder).unwrap();
    reports.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn reports_of_every_release_are_read_and_become_pages() {
    for release in Release::all() {
        let folder = tempfile::tempdir().unwrap();
        let reports = reports(&release);
        assert!(reports.len() >= 2, "{reports:?}");
        for report in reports {
            let text = std::fs::read(&report).unwrap();
            let read = StreamReport::read(&text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.version, release.facts.version);
            let whole: Value = serde_json::from_slice(&text).unwrap();
            let again = serde_json::to_value(&read).unwrap();
            for (field, value) in whole.as_object().unwrap() {
                // Objects may have got fields since; what was there is kept.
                if !value.is_object() && !value.is_array() {
                    assert_eq!(&again[field], value, "{field}");
                }
            }
            let page = folder.path().join("report.html");
            let named = [report.to_str().unwrap(), "--out", page.to_str().unwrap()];
            let made = run_in(folder.path(), &[&["report", "html"][..], &named].concat());
            made.expect(0, "");
            let page = std::fs::read_to_string(page).unwrap();
            assert!(page.contains("s3_event_stream_with_fraud_6B"));
        }
    }
}

#[test]
fn fields_of_plans_and_verifications_of_every_release_are_still_there() {
    /// Panics where a field of the old object is gone.
    fn assert_kept(old: &Value, new: &Value, path: &str) {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for (field, value) in old {
                    let kept = new.get(field);
                    let kept = kept.unwrap_or_else(|| panic!("{path}.{field} is gone"));
                    assert_kept(value, kept, &format!("{path}.{field}"));
                }
            }
            (Value::Array(old), Value::Array(new)) => {
                for (old, new) in old.iter().zip(new) {
                    assert_kept(old, new, &format!("{path}[]"));
                }
            }
            _ => {}
        }
    }
    for release in Release::all() {
        let site = Site::restored(&release, Home::File, gate(), &[]);
        for command in ["plan", "verify"] {
            let old = release.read_file(&format!("{command}.json"));
            let old: Value = serde_json::from_slice(&old).unwrap();
            let new = site.run(&[command], &[]);
            new.expect(0, "");
            assert_eq!(new.report["format_version"], 1, "{command}");
            assert_kept(&old, &new.report, command);
        }
    }
}

/// Waits until a stream of a rig can be steered; its control socket.
pub(crate) fn socket_of(rig: &Rig) -> PathBuf {
    let began = Instant::now();
    loop {
        let found = find(&rig.runs_root(), None).unwrap();
        if let Some(found) = found.into_iter().next() {
            return found.socket;
        }
        assert!(began.elapsed() < PATIENCE, "no stream to be steered");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_lines_of_an_earlier_releases_client_are_obeyed() {
    for release in Release::all() {
        let rig = Rig::sample();
        let stream = rig.start_stream(&["--speedup", "1"]);
        let socket = socket_of(&rig);
        let old = release.conversation();
        let requests: Vec<String> = old.iter().map(|one| one.request.clone()).collect();
        let new = converse(&socket, &requests);
        Rig::finish(stream).expect(3, "STOPPED");
        let mut acts = BTreeSet::new();
        for (old, new) in old.iter().zip(&new) {
            let (was, is) = (old.answer(), new.answer());
            assert_eq!(is["applied"], was["applied"], "{}: {is}", old.request);
            assert_eq!(new.answers.len(), old.answers.len(), "{}", old.request);
            assert_same_shape(old, new);
            acts.insert(old.act());
        }
        for act in [
            "status",
            "watch",
            "pause",
            "tap",
            "step",
            "pause_after",
            "pause_at",
            "resume_at",
            "pace",
            "resume",
            "stop",
        ] {
            assert!(acts.contains(act), "{act} is not in the conversation");
        }
    }
}

/// What a client of a release finds in each line is still there, but for what comes and goes.
#[track_caller]
fn assert_same_shape(old: &Exchange, new: &Exchange) {
    /// Fields that are absent where they say nothing.
    const OPTIONAL: [&str; 11] = [
        "sorting",
        "next_due",
        "pause_at",
        "resume_at",
        "gate_away",
        "store_away",
        "waiting_for_store_s",
        "last_failure",
        "gate_quarantined",
        "lateness_ms",
        "pace",
    ];
    for (old_line, new_line) in old.answers.iter().zip(&new.answers) {
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let (old_line, new_line) = (read(old_line), read(new_line));
        for (name, value) in old_line.as_object().unwrap() {
            let is = &new_line[name];
            assert!(new_line.get(name).is_some(), "{name} is gone: {new_line}");
            let Value::Object(fields) = value else {
                continue;
            };
            for field in fields
                .keys()
                .filter(|field| !OPTIONAL.contains(&field.as_str()))
            {
                assert!(is.get(field).is_some(), "{name}.{field} is gone: {is}");
            }
        }
    }
}

/// A stand-in for a stream of an earlier release: it answers each act as that release did.
fn old_stream(socket: &Path, conversation: Vec<Exchange>) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut line = String::new();
            BufReader::new(&client).read_line(&mut line).unwrap();
            let Ok(request) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let recorded = conversation
                .iter()
                .find(|one| request["act"] == one.act().as_str());
            for answer in &recorded.unwrap().answers {
                // A client that has what it wants goes.
                let _ = client.write_all(format!("{answer}\n").as_bytes());
            }
        }
    });
}

#[test]
fn a_stream_of_an_earlier_release_is_steered_by_this_client() {
    for release in Release::all() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("old.sock");
        old_stream(&socket, release.conversation());
        for act in [
            &["status"][..],
            &["pause"],
            &["resume"],
            &["step", "2"],
            &["pause-after", "1"],
            &["pause", "--at", "2026-01-28T08:59:00Z"],
            &["resume", "--at", "2126-01-28T08:00:00Z"],
            &["speedup", "0.5"],
            &["rate", "2"],
            &["stop"],
        ] {
            let named = ["control", "--socket", socket.to_str().unwrap()];
            let ran = run_in(folder.path(), &[&named[..], act].concat());
            assert_eq!(ran.status, 0, "{act:?}: {}", ran.stderr);
            assert_eq!(ran.report["applied"], true, "{act:?}");
        }
        for act in [&["watch", "--count", "2"][..], &["tap", "2", "--payload"]] {
            let mut command = std::process::Command::new(system_tests::wsp_cli());
            command.args(["control", "--socket"]).arg(&socket).args(act);
            let ran = command.output().unwrap();
            let said = String::from_utf8(ran.stdout).unwrap();
            assert!(ran.status.success(), "{act:?}: {said}");
            assert!(said.lines().count() >= 2, "{act:?}: {said}");
        }
    }
}

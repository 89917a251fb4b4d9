//! What an old build does with a new one's records: each format is refused with its reason code, and
//! nothing is half read, pushed or written over. The new build is this one, its version raised by one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use sandbox::{Dialect, FaultRule, GateOptions};
use serde_json::Value;
use system_tests::checkpoints::wait_for;
use system_tests::releases::{Home, RUN, Site};
use system_tests::{Ran, Rig, run_in};

const UNSUPPORTED: &str = "CHECKPOINT_VERSION_UNSUPPORTED";

/// A site whose stream has saved a few cursors and set events aside.
fn site(home: Home) -> Site {
    let refusing = GateOptions {
        faults: vec!["status:422,share=0.2".parse::<FaultRule>().unwrap()],
        ..GateOptions::default()
    };
    let site = Site::new(home, refusing, &[]);
    site.stream(&["--max-events", "40"]).expect(0, "MAX_EVENTS");
    site
}

/// The files of a name below a folder.
fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, name));
        } else if path.file_name().is_some_and(|found| found == name) {
            found.push(path);
        }
    }
    found
}

/// The JSON with its version raised by one, and a field that nobody knows yet.
fn newer(json: &str, field: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap();
    let version = value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{json} has no {field}"));
    value[field] = (version + 1).into();
    value["of_a_later_release"] = true.into();
    value.to_string()
}

/// Streams, and sees that nothing was pushed.
#[track_caller]
fn assert_refused(site: &Site, more: &[&str], code: &str) -> Ran {
    let posts = site.rig.gate.stats().posts;
    let ran = site.stream(more);
    ran.expect(1, code);
    assert_eq!(
        site.rig.gate.stats().posts,
        posts,
        "{code}: pushed all the same"
    );
    ran
}

#[test]
fn a_cursor_of_a_newer_release_in_a_file_is_refused_and_left_alone() {
    let site = site(Home::File);
    for path in files(&site.rig.runs_root(), "cursor.json") {
        let was = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, newer(&was, "format_version")).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        let ran = assert_refused(&site, &[], UNSUPPORTED);
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("format version"), "{detail}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        std::fs::write(&path, was).unwrap();
    }
}

#[test]
fn a_sqlite_file_of_a_newer_release_is_refused() {
    let site = site(Home::Sqlite);
    let path = site.rig.runs_root().join("wsp/cursors.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // `user_version` stands at byte 60 of a SQLite file, high byte first.
    let version = u32::from_be_bytes(bytes[60..64].try_into().unwrap());
    bytes[60..64].copy_from_slice(&(version + 1).to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert_refused(&site, &[], UNSUPPORTED);
}

#[test]
fn rows_and_tables_of_a_newer_release_in_postgres_are_refused() {
    let site = site(Home::Postgres);
    let raise = |by: i32| {
        format!(
            "UPDATE wsp_checkpoint SET format_version = format_version + {by}, sequence = sequence + 1"
        )
    };
    wait_for(site.server().execute(&raise(1)));
    assert_refused(&site, &[], UNSUPPORTED);
    let newer =
        "INSERT INTO wsp_checkpoint_schema SELECT max(version) + 1 FROM wsp_checkpoint_schema";
    wait_for(site.server().execute(newer));
    assert_refused(&site, &[], UNSUPPORTED);
}

#[test]
fn objects_and_claims_of_a_newer_release_in_a_bucket_are_refused() {
    let site = site(Home::Object);
    let keys = site.bucket().keys("records/cursors");
    let key = keys
        .iter()
        .find(|key| key.ends_with("cursor.json"))
        .unwrap();
    let was = String::from_utf8(site.bucket().get(key).to_vec()).unwrap();
    site.bucket().put(key, newer(&was, "format_version"));
    assert_refused(&site, &[], UNSUPPORTED);
    site.bucket().put(key, was);
    // A claim is read by whoever holds a lease, or takes one over.
    let pack = key.rsplitn(3, '/').last().unwrap();
    let claim = r#"{"format_version":2,"state":"open","wants":["everything"]}"#;
    site.bucket().put(&format!("{pack}/take-over.json"), claim);
    assert_refused(&site, &["--take-over"], UNSUPPORTED);
}

#[test]
fn lines_of_a_newer_release_in_the_quarantine_are_refused_by_stream_and_redrive() {
    let site = site(Home::File);
    let aside = site.set_aside();
    let one_up = ["--platform-run-id", RUN, "--give-up", &aside[0]];
    site.run(&["redrive"], &one_up).expect(0, "");
    for name in ["quarantine.ndjson", "quarantine.redriven.ndjson"] {
        let path = site.run_folder().join("wsp").join(name);
        let was = std::fs::read_to_string(&path).unwrap();
        let (first, rest) = was.split_once('\n').unwrap();
        let changed = format!("{}\n{rest}", newer(first, "format_version"));
        std::fs::write(&path, &changed).unwrap();
        let posts = site.rig.gate.stats().posts;
        let ran = site.run(&["redrive"], &["--platform-run-id", RUN]);
        ran.expect(1, "QUARANTINE_UNREADABLE");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("format version is 2"), "{detail}");
        assert_eq!(site.rig.gate.stats().posts, posts);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
        std::fs::write(&path, was).unwrap();
    }
}

#[test]
fn a_gate_book_of_a_newer_release_is_refused() {
    let quarantining = GateOptions {
        dialect: Some(Dialect::Local),
        faults: vec!["quarantine:SCHEMA_FAIL".parse::<FaultRule>().unwrap()],
        ..GateOptions::default()
    };
    let bounded = [("wiring.wsp_push.max_gate_quarantined", "100")];
    let site = Site::new(Home::File, quarantining, &bounded);
    site.stream(&["--max-events", "30"])
        .expect(1, "GATE_QUARANTINED_ALL");
    for name in ["gate_verdict.json", "gate_quarantined.ndjson"] {
        let path = site.run_folder().join("wsp").join(name);
        let was = std::fs::read_to_string(&path).unwrap();
        let first = was.lines().next().unwrap();
        let changed = was.replacen(first, &newer(first, "format_version"), 1);
        std::fs::write(&path, changed).unwrap();
        let ran = assert_refused(&site, &[], "QUARANTINE_UNREADABLE");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(
            detail.contains(name) && detail.contains("version 2"),
            "{detail}"
        );
        std::fs::write(&path, was).unwrap();
    }
}

#[test]
fn a_time_index_of_a_newer_release_is_made_again_with_a_warning() {
    let site = site(Home::File);
    let path = files(&site.rig.runs_root(), "time_index.jsonl").remove(0);
    let was = std::fs::read_to_string(&path).unwrap();
    let (header, rest) = was.split_once('\n').unwrap();
    std::fs::write(&path, format!("{}\n{rest}", newer(header, "version"))).unwrap();
    let ran = site.stream(&["--max-events", "1"]);
    ran.expect(0, "MAX_EVENTS");
    let warned = "time index is of another version";
    assert!(ran.stderr.contains(warned), "{}", ran.stderr);
    let now = std::fs::read_to_string(&path).unwrap();
    assert_eq!(now.lines().next(), was.lines().next());
}

#[test]
fn a_report_of_a_newer_release_is_refused_and_makes_no_page() {
    let site = site(Home::File);
    let summary = site.run_folder().join("wsp/wsp_summary.json");
    let text = std::fs::read_to_string(summary).unwrap();
    let folder = site.rig.folder.path();
    std::fs::write(folder.join("newer.json"), newer(&text, "format_version")).unwrap();
    let ran = run_in(folder, &["report", "html", "newer.json"]);
    ran.expect(1, "REPORT_VERSION_UNSUPPORTED");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(detail.contains("field `format_version`"), "{detail}");
    assert!(!folder.join("newer.html").exists());
}

#[test]
fn a_plan_of_a_newer_release_merges_no_reports() {
    let site = site(Home::File);
    let planned = site.run(&["plan", "--ids"], &[]);
    planned.expect(0, "");
    let folder = site.rig.folder.path();
    let summary = site.run_folder().join("wsp/wsp_summary.json");
    let merge = |plan: &str| {
        std::fs::write(folder.join("plan.json"), plan).unwrap();
        let words = ["report", "merge", "--against", "plan.json"];
        run_in(folder, &[&words[..], &[summary.to_str().unwrap()]].concat())
    };
    let plan = planned.report.to_string();
    assert_ne!(merge(&plan).reason(), "MERGE_REPORT_UNREADABLE");
    let refused = merge(&newer(&plan, "format_version"));
    assert_eq!(refused.reason(), "MERGE_REPORT_UNREADABLE");
    let detail = refused.report["detail"].as_str().unwrap();
    assert!(detail.contains("format version is 2"), "{detail}");
}

#[test]
fn a_client_and_a_stream_of_two_versions_of_the_protocol_refuse_each_other() {
    const CODE: &str = "CONTROL_VERSION_UNSUPPORTED";
    // A newer client, and a stream of this build.
    let rig = Rig::sample();
    let stream = rig.start_stream(&["--speedup", "1"]);
    let socket = crate::releases::socket_of(&rig);
    let mut client = UnixStream::connect(&socket).unwrap();
    let newer = b"{\"version\":2,\"act\":\"pause\",\"until\":\"noon\"}\n";
    client.write_all(newer).unwrap();
    let mut line = String::new();
    BufReader::new(&client).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["applied"], false);
    assert!(
        answer["refused"].as_str().unwrap().starts_with(CODE),
        "{answer}"
    );
    assert_ne!(answer["stream"]["state"], "paused", "{answer}");
    wsp::control::send(&socket, &wsp::replay::Act::Stop.into()).unwrap();
    Rig::finish(stream).expect(3, "STOPPED");

    // A client of this build, and a newer stream.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("newer.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            BufReader::new(&client)
                .read_line(&mut String::new())
                .unwrap();
            let _ = client.write_all(b"{\"version\":2,\"applied\":true,\"stream\":{}}\n");
        }
    });
    for act in [
        &["status"][..],
        &["pause"],
        &["watch", "--count", "1"],
        &["tap", "1"],
    ] {
        let named = ["control", "--socket", socket.to_str().unwrap()];
        let ran = run_in(folder.path(), &[&named[..], act].concat());
        ran.expect(1, CODE);
        assert!(ran.report["detail"].as_str().unwrap().contains("version 2"));
    }
}

#[test]
fn a_file_of_the_active_run_that_names_no_run_as_this_release_knows_them_is_refused() {
    let site = site(Home::File);
    let active = site.rig.runs_root().join("ACTIVE_RUN_ID");
    std::fs::write(&active, "platform-v2:20260128T090000.5Z/a\n").unwrap();
    let posts = site.rig.gate.stats().posts;
    let ran = site.run(&["stream"], &[]);
    ran.expect(2, "PROFILE_INVALID");
    assert_eq!(site.rig.gate.stats().posts, posts);
}

/// The version that the page on compatibility says of a format: what this release writes.
pub(crate) fn on_the_page(format: &str) -> String {
    let page = include_str!("../../../docs/compatibility.md");
    let row = page
        .lines()
        .find(|line| line.starts_with(&format!("| {format} |")));
    let row = row.unwrap_or_else(|| panic!("the page has no row of {format}"));
    row.split(" | ").nth(3).unwrap().to_owned()
}

/// The version in a JSON text.
#[track_caller]
fn version_in(json: impl AsRef<[u8]>, field: &str) -> String {
    let value: Value = serde_json::from_slice(json.as_ref()).unwrap();
    value[field]
        .as_str()
        .map_or_else(|| value[field].to_string(), str::to_owned)
}

/// The number behind the first place of a text.
fn number_behind(text: &str, place: &str) -> String {
    let behind = text
        .split(place)
        .nth(1)
        .unwrap_or_else(|| panic!("no {place}"));
    behind.chars().take_while(char::is_ascii_digit).collect()
}

/// The versions of format and program that each file of a sort cache says it is of.
pub(crate) fn sorted_parts(cache: &Path) -> Vec<(String, String)> {
    let cached = std::fs::read_dir(cache).unwrap();
    let cached = cached.map(|entry| entry.unwrap().path());
    let sorted = cached.filter(|path| path.extension().is_some_and(|kind| kind == "sorted"));
    let of_file = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes[..200.min(bytes.len())]).into_owned();
        let program = text.split("\"program\":\"").nth(1).unwrap();
        let program = program.split('"').next().unwrap().to_owned();
        (number_behind(&text, "\"version\":"), program)
    };
    sorted.map(of_file).collect()
}

#[test]
fn the_page_on_compatibility_says_the_versions_that_are_written() {
    let format = "format_version";
    let in_file = |path: PathBuf, field: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        version_in(text.lines().next().unwrap(), field)
    };
    let mut written = Vec::new();
    {
        let site = site(Home::File);
        let runs = site.rig.runs_root();
        let one_up = ["--platform-run-id", RUN, "--give-up", &site.set_aside()[0]];
        site.run(&["redrive"], &one_up).expect(0, "");
        let aside = site.run_folder().join("wsp/quarantine.ndjson");
        let summary = std::fs::read(site.run_folder().join("wsp/wsp_summary.json")).unwrap();
        written.push((
            "cursor",
            in_file(files(&runs, "cursor.json").remove(0), format),
        ));
        written.push(("quarantine", in_file(aside.clone(), format)));
        written.push((
            "redriven",
            in_file(aside.with_extension("redriven.ndjson"), format),
        ));
        written.push(("report", version_in(summary, format)));
        let index = files(&runs, "time_index.jsonl").remove(0);
        written.push(("time index", in_file(index, "version")));
        let (version, _) = sorted_parts(&runs.join("wsp/sort_cache")).remove(0);
        written.push(("sort cache", version));
        for (name, command) in [("plan", "plan"), ("verification", "verify")] {
            let printed = site.run(&[command], &[]).report.to_string();
            written.push((name, version_in(printed, format)));
        }
        let manifest = site
            .rig
            .world
            .engine_run_root()
            .join("_oracle_pack_manifest.json");
        let manifest = std::fs::read(manifest).unwrap();
        let pack = "pack manifest, seal, contents index";
        written.push((pack, version_in(manifest, "version")));
    }
    {
        let site = site(Home::Object);
        let keys = site.bucket().keys("records/cursors");
        let key = keys
            .iter()
            .find(|key| key.ends_with("cursor.json"))
            .unwrap();
        written.push(("slot", version_in(site.bucket().get(key), format)));
    }
    {
        let site = site(Home::Sqlite);
        let bytes = std::fs::read(site.rig.runs_root().join("wsp/cursors.db")).unwrap();
        let version = u32::from_be_bytes(bytes[60..64].try_into().unwrap());
        written.push(("SQLite file", version.to_string()));
    }
    {
        let dump = site(Home::Postgres).server().dump();
        let version = number_behind(&dump, "INTO public.wsp_checkpoint_schema VALUES (");
        written.push(("Postgres tables", version));
    }
    let request = wsp::control::Request::Status.to_line();
    written.push(("control protocol", version_in(request, "version")));
    for (name, version) in written {
        assert_eq!(on_the_page(name), version, "{name}");
    }
}

//! Bad input: the reason code, the exit status, and nothing pushed.

use sandbox::{Corruption, GateOptions, SeenBy, WorldOptions};
use system_tests::Rig;

fn rig(keys: &[(&str, &str)]) -> Rig {
    Rig::new(&WorldOptions::sample(), GateOptions::default(), keys)
}

#[test]
fn every_corruption_is_refused_with_its_code() {
    for corruption in Corruption::ALL {
        let keys: &[(&str, &str)] = match corruption.seen_by() {
            SeenBy::AnyRun | SeenBy::Streaming => &[],
            SeenBy::StrictPosture => &[("policy.posture", "strict")],
            SeenBy::DigestVerification => &[("policy.gate_verification", "digest")],
            SeenBy::SizeVerification => &[("policy.data_verification", "size")],
            SeenBy::Sha256Verification => &[("policy.data_verification", "sha256")],
        };
        for order in ["as_written", "event_time"] {
            let mut keys = keys.to_vec();
            keys.push(("policy.stream_order", order));
            let rig = rig(&keys);
            corruption.apply(&rig.world).unwrap();
            let ran = rig.stream(&[]);
            assert_eq!(
                (ran.status, ran.reason()),
                (1, corruption.reason_code()),
                "{corruption:?} in {order}: {}\n{}",
                ran.report,
                ran.stderr
            );
            // A part is hashed before its first row, when others may be under way.
            let late = [SeenBy::Streaming, SeenBy::Sha256Verification];
            if !late.contains(&corruption.seen_by()) {
                assert_eq!(rig.gate.stats().posts, 0, "{corruption:?}");
            }
            let detail = ran.report["detail"].as_str().unwrap();
            assert!(
                detail.len() > 20,
                "{corruption:?} is not explained: {detail}"
            );
        }
    }
}

#[test]
fn unusable_profiles_are_refused_with_status_2() {
    for (key, value, code) in [
        ("policy.stream_speedup", "-1", "PROFILE_INVALID"),
        ("wiring.wsp_push.lane", "3", "PROFILE_KEY_UNKNOWN"),
        ("wiring.ig_ingest_url", "ftp://gate", "PROFILE_INVALID"),
        (
            "wiring.oracle_engine_run_root",
            "${WSP_TEST_UNSET}",
            "PROFILE_VALUE_MISSING",
        ),
        (
            "policy.traffic_output_ids_ref",
            "nowhere.yaml",
            "PROFILE_REF_UNREADABLE",
        ),
    ] {
        let keys = [("policy.traffic_output_ids", "null"), (key, value)];
        let rig = rig(if key.contains("traffic") {
            &keys
        } else {
            &keys[1..]
        });
        rig.stream(&[]).expect(2, code);
        assert_eq!(rig.gate.stats().connections, 0);
    }
    // In local posture it would be the gate of this machine.
    let rig = rig(&[
        ("wiring.ig_ingest_url", "${WSP_TEST_UNSET}"),
        ("policy.posture", "strict"),
    ]);
    rig.stream(&[]).expect(2, "PROFILE_VALUE_MISSING");
}

#[test]
fn refusals_before_the_world_is_opened_have_their_codes() {
    for (keys, args, code) in [
        (
            vec![("wiring.engine_catalogue_path", "nowhere.yaml")],
            vec![],
            "CATALOGUE_UNREADABLE",
        ),
        (
            vec![("wiring.gate_map_path", "nowhere.yaml")],
            vec![],
            "GATE_MAP_UNREADABLE",
        ),
        (
            vec![],
            vec!["--engine-run-root", "/nowhere/at/all"],
            "ENGINE_ROOT_MISSING",
        ),
        (
            vec![],
            vec!["--output-ids", "no_such_output"],
            "OUTPUT_UNKNOWN",
        ),
        (
            vec![(
                "policy.traffic_output_ids",
                "[s3_event_stream_with_fraud_6B]",
            )],
            vec!["--output-ids", "s2_event_stream_baseline_6B"],
            "OUTPUT_NOT_IN_POLICY",
        ),
        (
            vec![("policy.traffic_output_ids", "[]")],
            vec![],
            "NO_TRAFFIC_OUTPUTS",
        ),
        (
            vec![("wiring.wsp_producer.producer_id", "null")],
            vec![],
            "PRODUCER_ID_MISSING",
        ),
        (
            vec![("wiring.wsp_producer.producer_id", "svc:other")],
            vec![],
            "PRODUCER_NOT_ALLOWED",
        ),
        (
            vec![("wiring.wsp_producer.allowlist_ref", "nowhere.txt")],
            vec![],
            "PRODUCER_ALLOWLIST_MISSING",
        ),
        (
            vec![],
            vec!["--oracle-pack-id", &"0".repeat(64)],
            "PACK_ID_MISMATCH",
        ),
        (
            vec![],
            vec!["--scenario-id", "another"],
            "WORLD_KEY_MISMATCH",
        ),
    ] {
        let rig = rig(&keys);
        rig.stream(&args).expect(1, code);
        assert_eq!(rig.gate.stats().connections, 0, "{code}");
    }
}

#[test]
fn an_output_that_lost_the_gates_that_authorize_it_is_refused() {
    let rig = rig(&[]);
    let catalogue = std::fs::read_to_string(rig.world.catalogue()).unwrap();
    // The catalogue's lists of gates, emptied: as a wrong edit or a bad merge leaves them.
    let mut emptied = String::new();
    let mut within = false;
    for line in catalogue.lines() {
        within &= line.trim_start().starts_with("- ") && !line.starts_with("- output_id");
        if line.trim_start().starts_with("read_requires_gates:") {
            emptied.push_str(line.split(':').next().unwrap());
            emptied.push_str(": []\n");
            within = true;
        } else if !within {
            emptied.push_str(line);
            emptied.push('\n');
        }
    }
    let named = rig.folder.path().join("emptied.yaml");
    std::fs::write(&named, emptied).unwrap();
    for command in ["stream", "plan", "verify"] {
        let gate_map = rig.world.gate_map();
        let more = [
            "--catalogue",
            named.to_str().unwrap(),
            "--gate-map",
            gate_map.to_str().unwrap(),
        ];
        let ran = rig.run(&[command], &more);
        ran.expect(1, "CATALOGUE_GATES_DISAGREE");
    }
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_world_under_the_platforms_runs_root_is_refused() {
    let rig = rig(&[]);
    let runs = rig.folder.path().join("runs/fraud-platform");
    std::fs::create_dir_all(&runs).unwrap();
    let inside = runs.join("world");
    std::os::unix::fs::symlink(rig.world.engine_run_root(), &inside).unwrap();
    let path = inside.to_str().unwrap();
    rig.stream(&["--engine-run-root", path])
        .expect(1, "ENGINE_ROOT_IN_PLATFORM_RUNS");
    assert_eq!(rig.gate.stats().connections, 0);
}

/// Every path under a folder.
fn tree(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn a_symlink_below_a_root_leads_nothing_of_ours_into_the_world() {
    const RUN: &str = "platform_20260128T090000Z";
    let rig = rig(&[]);
    let world = rig.world.engine_run_root();
    let aside = world.join("aside");
    std::fs::create_dir(&aside).unwrap();
    let runs = rig.world.runs_root();
    let planned = rig.run(&["plan"], &["--platform-run-id", RUN]);
    let pack_key = planned.report["pack_key"].as_str().unwrap().to_owned();
    let checkpoints = runs.join("wsp_checkpoints");
    for link in [
        runs.join(RUN),
        runs.join(RUN).join("session.jsonl"),
        runs.join("wsp/time_index").join(&pack_key),
        checkpoints.join(&pack_key),
        checkpoints.join(".sessions"),
    ] {
        let before = tree(world);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(aside.join("new"), &link).unwrap();
        let ran = rig.stream(&["--platform-run-id", RUN]);
        ran.expect(2, "PROFILE_INVALID");
        let detail = ran.report["detail"].as_str().unwrap();
        assert!(detail.contains("an engine run root"), "{detail}");
        assert_eq!(tree(world), before, "{}", link.display());
        std::fs::remove_file(&link).unwrap();
    }
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_place_in_the_world_for_cursors_or_the_time_index_is_refused_before_anything_is_written() {
    let mut rig = rig(&[]);
    let inside = rig.world.engine_run_root().join("ours");
    let inside = inside.to_str().unwrap().to_owned();
    let outside = rig.folder.path().join("cursors");
    let outside = outside.to_str().unwrap().to_owned();
    for (backend, cursors, index, key) in [
        ("file", &inside, &outside, "wsp_checkpoint.root"),
        ("sqlite", &inside, &outside, "wsp_checkpoint.root"),
        ("object", &inside, &outside, "wsp_checkpoint.root"),
        ("file", &outside, &inside, "wsp_order.time_index"),
    ] {
        rig.set(&[
            ("wiring.wsp_checkpoint.backend", backend),
            ("wiring.wsp_checkpoint.root", cursors),
            ("wiring.wsp_order.time_index", index),
        ]);
        let before = tree(rig.world.engine_run_root());
        for command in ["stream", "plan"] {
            let ran = rig.run(&[command], &[]);
            ran.expect(2, "PROFILE_INVALID");
            let detail = ran.report["detail"].as_str().unwrap();
            assert!(detail.contains(key), "{backend}: {detail}");
        }
        assert_eq!(tree(rig.world.engine_run_root()), before, "{backend}");
    }
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let mut rig = rig(&[]);
    let pipe = rig.folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let named = pipe.to_str().unwrap().to_owned();
    for (flag, code) in [
        ("--catalogue", "CATALOGUE_UNREADABLE"),
        ("--gate-map", "GATE_MAP_UNREADABLE"),
    ] {
        for command in ["stream", "plan", "verify"] {
            rig.run(&[command], &[flag, &named]).expect(1, code);
        }
    }
    rig.run(&["redrive"], &["--file", &named])
        .expect(1, "QUARANTINE_UNREADABLE");
    let runs = rig.world.runs_root();
    std::fs::create_dir_all(&runs).unwrap();
    std::os::unix::fs::symlink(&pipe, runs.join("ACTIVE_RUN_ID")).unwrap();
    rig.stream(&[]).expect(2, "PROFILE_INVALID");
    std::fs::remove_file(runs.join("ACTIVE_RUN_ID")).unwrap();
    rig.set(&[("wiring.wsp_producer.allowlist_ref", &named)]);
    rig.stream(&[]).expect(1, "PRODUCER_ALLOWLIST_UNREADABLE");
    rig.set(&[
        ("policy.traffic_output_ids", "null"),
        ("policy.traffic_output_ids_ref", &named),
    ]);
    rig.stream(&[]).expect(2, "PROFILE_REF_UNREADABLE");
    let profile = system_tests::run_in(rig.folder.path(), &["stream", "--profile", &named]);
    profile.expect(2, "PROFILE_UNREADABLE");
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn what_the_gate_refuses_ends_the_stream_with_its_words() {
    let rig = rig(&[]);
    let body = Some("no\u{7} thanks".to_owned());
    let fault = sandbox::Fault::Status {
        code: 422,
        retry_after: None,
        body,
        store: false,
    };
    rig.gate
        .set_faults(vec![sandbox::FaultRule::always(fault)])
        .unwrap();
    let ran = rig.stream(&[]);
    ran.expect(1, "IG_PUSH_REJECTED");
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains("422") && detail.contains("thanks") && !detail.contains('\u{7}'),
        "{detail}"
    );
    assert_eq!(rig.gate.stats().unique, 0);
}

#[test]
fn a_half_written_cursor_is_refused_and_never_restarted_from_the_beginning() {
    let rig = rig(&[]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    let cursor = find(rig.folder.path(), "cursor.json");
    let text = std::fs::read_to_string(&cursor).unwrap();
    std::fs::write(&cursor, &text[..text.len() / 2]).unwrap();
    let posts = rig.gate.stats().posts;
    rig.stream(&[]).expect(1, "CHECKPOINT_CORRUPT");
    assert_eq!(rig.gate.stats().posts, posts);
}

#[test]
fn a_world_that_changed_under_its_cursors_is_refused() {
    let rig = rig(&[]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    let part = &rig.world.parts("s3_event_stream_with_fraud_6B")[0];
    std::fs::copy(part, part.with_file_name("part-999999.parquet")).unwrap();
    rig.stream(&[]).expect(1, "CHECKPOINT_PLAN_MISMATCH");
    rig.stream(&[
        "--platform-run-id",
        "platform_20200101T000000Z",
        "--allow-plan-change",
    ])
    .expect(1, "CHECKPOINT_RUN_MISMATCH");
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return path;
            }
        }
    }
    panic!("no {name} under {}", folder.display());
}

#[test]
fn a_folder_in_the_place_of_a_part_is_refused_by_every_command() {
    let rig = rig(&[]);
    let planned = rig.run(&["plan"], &[]);
    planned.expect(0, "");
    let path = planned.report["outputs"][0]["path"].as_str().unwrap();
    let folder = path.rsplit_once('/').unwrap().0;
    let part = rig
        .world
        .engine_run_root()
        .join(folder)
        .join("part-9.parquet");
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("part-00000-abc.parquet"), "rows").unwrap();
    for command in ["stream", "plan", "verify", "pack"] {
        let more: &[&str] = match command {
            "pack" => &["--engine-release", "e1"],
            _ => &[],
        };
        let ran = rig.run(&[command], more);
        ran.expect(1, "UNSUPPORTED_OUTPUT_FORMAT");
        let text = ran.report.to_string();
        assert!(text.contains("part-9.parquet"), "{command}: {text}");
    }
    assert_eq!(rig.gate.stats().posts, 0);
}

#[test]
fn verify_data_of_a_world_without_a_pack_says_that_nothing_was_hashed() {
    let rig = rig(&[]);
    for file in [
        "_oracle_pack_contents.json",
        "_oracle_pack_manifest.json",
        "_SEALED.json",
    ] {
        let _ = std::fs::remove_file(rig.world.engine_run_root().join(file));
    }
    let ran = rig.run(&["verify"], &["--data"]);
    ran.expect(0, "");
    let findings = ran.report["findings"].as_array().unwrap();
    let said = findings.iter().any(|finding| {
        finding["reason"] == "DATA_NOT_HASHED" && finding["detail"].to_string().contains("hashed")
    });
    assert!(said, "{}", ran.report);
}

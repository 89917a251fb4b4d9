//! A world in a bucket is the same world: same stream, same evidence, same pack, and
//! cursors may live beside it.

use std::collections::BTreeSet;
use std::time::Duration;

use sandbox::{Corruption, GateOptions, Pack, WorldOptions};
use system_tests::{BUCKET, Ground, Ran, Rig};

system_tests::on_each_ground!(
    strict_posture_proves_digests_and_data,
    verify_says_ok_and_then_lists_every_fault,
    pack_writes_once,
);

const OBJECT_CURSORS: [(&str, &str); 2] = [
    ("wiring.wsp_checkpoint.backend", "object"),
    ("wiring.wsp_checkpoint.root", "s3://worlds/cursors/of wsp"),
];

#[test]
fn one_world_is_one_stream_on_disk_and_in_a_bucket() {
    for order in ["as_written", "event_time"] {
        let stream = |ground| {
            let gate = GateOptions {
                record_arrivals: true,
                ..GateOptions::default()
            };
            let keys = [("policy.stream_order", order)];
            let rig = Rig::on(ground, &WorldOptions::sample(), gate, &keys);
            let ran = rig.stream(&[]);
            ran.expect(0, "");
            assert_eq!(ran.report["engine_run_root"], rig.engine_run_root());
            let arrivals = rig.gate.arrivals().into_iter();
            let ids: BTreeSet<_> = arrivals.map(|arrival| arrival.event_id).collect();
            assert_eq!(ids.len() as u64, rig.rows());
            (ran.report["stream_digest"].clone(), ids)
        };
        let on_disk = stream(Ground::Disk);
        assert!(on_disk.0.is_string());
        assert_eq!(stream(Ground::S3), on_disk, "{order}");
    }
}

fn strict_posture_proves_digests_and_data(ground: Ground) {
    let mut rig = Rig::sample_on(ground);
    for verification in ["size", "sha256"] {
        let root = format!("{}/{verification}", rig.folder.path().display());
        rig.set(&[
            ("policy.posture", "strict"),
            ("policy.data_verification", verification),
            ("wiring.wsp_checkpoint.root", &root),
        ]);
        let ran = rig.stream(&[]);
        ran.expect(0, "");
        assert_eq!(ran.report["emitted"], rig.rows());
        assert_eq!(ran.report["data_verified"], verification);
        let receipts = ran.report["gates"]["receipts"].as_array().unwrap();
        assert_eq!(receipts.len(), 4, "the closure of what is required");
        assert!(receipts.iter().all(|gate| gate["mode"] == "digest"));
    }
}

fn verify_says_ok_and_then_lists_every_fault(ground: Ground) {
    let rig = Rig::sample_on(ground);
    let sound = rig.run(&["verify"], &["--data", "--order"]);
    sound.expect(0, "");
    assert_eq!(sound.report["status"], "OK", "{}", sound.report);
    assert_eq!(sound.report["contents"]["verified"], "sha256");
    let rows = |output: &serde_json::Value| output["rows"].as_u64().unwrap();
    let outputs = sound.report["outputs"].as_array().unwrap();
    assert_eq!(outputs.iter().map(rows).sum::<u64>(), rig.rows());

    Corruption::UpstreamByteFlipped.apply(&rig.world).unwrap();
    Corruption::PartByteFlipped.apply(&rig.world).unwrap();
    rig.mirror();
    let failed = rig.run(&["verify"], &["--data"]);
    failed.expect(1, "GATE_DIGEST_MISMATCH");
    let part = &rig.world.parts("s2_event_stream_baseline_6B")[0];
    assert!(found(&failed, "DATA_MISMATCH", &rig.object_name(part)));
    let file = rig.object_name("");
    assert!(found(&failed, "GATE_DIGEST_MISMATCH", &file));
    assert_eq!(rig.gate.stats().connections, 0);
}

/// Whether a finding has a reason and names an object.
fn found(ran: &Ran, reason: &str, object: &str) -> bool {
    let mut findings = ran.report["findings"].as_array().unwrap().iter();
    findings.any(|finding| {
        finding["reason"] == reason && finding["detail"].as_str().unwrap().contains(object)
    })
}

fn pack_writes_once(ground: Ground) {
    let bare = WorldOptions {
        pack: Pack::None,
        contents_index: false,
        ..WorldOptions::sample()
    };
    let mut rig = Rig::on(ground, &bare, GateOptions::default(), &[]);
    let release = ["--engine-release", "engine-1.4.0"];
    let before = objects(&rig);

    let dry = rig.run(&["pack"], &[&release[..], &["--dry-run"]].concat());
    dry.expect(0, "");
    assert_eq!(dry.report["outcome"], "dry_run");
    assert_eq!(objects(&rig), before);

    let packed = rig.run(&["pack"], &release);
    packed.expect(0, "");
    assert_eq!(packed.report["outcome"], "packed");
    let written = packed.report["files"].as_array().unwrap();
    let written: Vec<_> = written.iter().map(|file| file["name"].clone()).collect();
    let expected = [
        "_oracle_pack_contents.json",
        "_oracle_pack_manifest.json",
        "_SEALED.json",
    ];
    assert_eq!(written, expected.map(|name| rig.object_name(name)));
    let sealed = objects(&rig);
    assert_eq!(sealed.len(), before.len() + 3);

    let again = rig.run(&["pack"], &release);
    again.expect(0, "");
    assert_eq!(again.report["outcome"], "already_sealed");
    let other = rig.run(&["pack"], &["--engine-release", "engine-1.5.0"]);
    other.expect(1, "PACK_MANIFEST_MISMATCH");
    let failed = [&release[..], &["--seal-status", "SEALED_FAILED"]].concat();
    rig.run(&["pack"], &failed).expect(1, "PACK_SEAL_MISMATCH");
    assert_eq!(objects(&rig), sealed, "a sealed pack gets nothing more");

    rig.set(&[
        ("policy.posture", "strict"),
        ("policy.data_verification", "sha256"),
    ]);
    rig.stream(&[]).expect(0, "");
}

/// Every object of the commands' world, and its bytes.
fn objects(rig: &Rig) -> Vec<(String, Vec<u8>)> {
    let root = rig.engine_run_root();
    if let Some(bucket) = &rig.bucket {
        let prefix = root.strip_prefix(&format!("s3://{BUCKET}/")).unwrap();
        let keys = bucket.keys(prefix).into_iter();
        return keys
            .map(|key| (key.clone(), bucket.get(&key).to_vec()))
            .collect();
    }
    let named =
        |path: std::path::PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    sandbox_files(rig.world.engine_run_root())
        .into_iter()
        .map(named)
        .collect()
}

fn sandbox_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sandbox_files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn cursors_in_a_bucket_stop_and_resume() {
    let mut rig = Rig::sample_on(Ground::S3);
    let paced = [
        OBJECT_CURSORS[0],
        OBJECT_CURSORS[1],
        ("wiring.wsp_checkpoint.lease_s", "3"),
        ("policy.stream_speedup", "60"),
    ];
    rig.set(&paced);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(50);
    rig.stream(&[]).expect(1, "LEASE_HELD");
    system_tests::signal(&child, "TERM");
    let stopped = Rig::finish(child);
    stopped.expect(3, "STOPPED");
    rig.set(&OBJECT_CURSORS);
    let shown = rig.run(&["checkpoint", "show"], &[]);
    assert!(
        shown.report.to_string().contains("last_row_index"),
        "{}",
        shown.report
    );
    rig.stream_the_rest(&stopped, 0, &[]);
    let again = rig.stream(&[]);
    again.expect(0, "");
    assert_eq!(again.report["emitted"], 0);
}

#[test]
fn kills_lose_nothing_with_cursors_in_a_bucket() {
    const FLUSH_EVERY: u64 = 100;
    const LANES: u64 = 8;
    let lanes = LANES.to_string();
    let keys = [
        OBJECT_CURSORS[0],
        OBJECT_CURSORS[1],
        // A killed producer's lease must run out before the next one may begin.
        ("wiring.wsp_checkpoint.lease_s", "1"),
        ("wiring.wsp_push.lanes", &lanes),
        ("policy.stream_speedup", "300"),
    ];
    let options = WorldOptions::sample();
    let rig = Rig::on(Ground::S3, &options, GateOptions::default(), &keys);
    for kill in 1..=4 {
        let before = rig.gate.stats();
        let mut child = rig.start_stream(&[]);
        rig.wait_for_unique(before.unique + 100 * kill);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(rig.gate.settle(Duration::from_mins(1)));
        let repeated = rig.gate.stats().duplicates - before.duplicates;
        assert!(
            repeated <= FLUSH_EVERY + LANES,
            "{repeated} repeated after kill {kill}"
        );
    }
    rig.stream(&["--speedup", "0"]).expect(0, "");
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

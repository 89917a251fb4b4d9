//! Bad input on disk and in a bucket: a reason code and the object's full name, before
//! the first push.

use std::path::{Path, PathBuf};

use sandbox::{Corruption, GateOptions, OutputOptions, SampleOutput, SeenBy, World, WorldOptions};
use system_tests::{Ground, Ran, Rig};

system_tests::on_each_ground!(
    faulty_gate_evidence_is_refused_by_name,
    an_output_of_more_parts_than_a_listing_page_is_whole,
    odd_names_are_followed_letter_by_letter,
);

/// Panics unless the run was refused so, naming the object, with nothing pushed.
#[track_caller]
fn expect_refusal(rig: &Rig, ran: &Ran, code: &str, object: &str) {
    ran.expect(1, code);
    let detail = ran.report["detail"].as_str().unwrap();
    assert!(
        detail.contains(object),
        "{code} does not name {object}: {detail}"
    );
    assert_eq!(rig.gate.stats().connections, 0, "{code}");
}

#[test]
fn a_wrong_bucket_and_a_wrong_prefix_are_named() {
    let rig = Rig::sample_on(Ground::S3);
    let at = |root: &str| rig.stream(&["--engine-run-root", root]);
    expect_refusal(
        &rig,
        &at("s3://nowhere/run"),
        "ENGINE_ROOT_MISSING",
        "s3://nowhere/run/",
    );
    let receipt = "s3://worlds/no/such run/run_receipt.json";
    let ran = at("s3://worlds/no/such run/");
    expect_refusal(&rig, &ran, "RUN_RECEIPT_UNREADABLE", receipt);
}

#[test]
fn refused_credentials_are_named_and_never_shown() {
    let rig = Rig::sample_on(Ground::S3);
    for command in ["stream", "verify", "plan"] {
        let mut command = rig.command(&[command], &[]);
        let ran = Ran::of(command.env("AWS_SECRET_ACCESS_KEY", "not-the-secret"));
        assert_eq!(ran.status, 1, "{}", ran.report);
        let report = ran.report.to_string();
        for said in [
            "ORACLE_READ_FAILED",
            "refuses the credentials",
            "run_receipt.json",
        ] {
            assert!(report.contains(said), "{report}");
        }
        assert!(!(report + &ran.stderr).contains("not-the-secret"));
    }
    assert_eq!(rig.gate.stats().connections, 0);
}

#[test]
fn every_corruption_is_refused_in_a_bucket_as_on_disk() {
    for corruption in Corruption::ALL {
        let (code, keys): (_, &[_]) = match (corruption, corruption.seen_by()) {
            // A bucket has no symlinks.
            (Corruption::PartLinkedOutside | Corruption::BundleFileLinkedOutside, _) => continue,
            // A prefix without objects is as good as any other.
            (Corruption::EngineRootMissing, _) => ("RUN_RECEIPT_UNREADABLE", &[]),
            (_, SeenBy::AnyRun | SeenBy::Streaming) => (corruption.reason_code(), &[]),
            (_, SeenBy::StrictPosture) => {
                (corruption.reason_code(), &[("policy.posture", "strict")])
            }
            (_, SeenBy::DigestVerification) => (
                corruption.reason_code(),
                &[("policy.gate_verification", "digest")],
            ),
            (_, SeenBy::SizeVerification) => (
                corruption.reason_code(),
                &[("policy.data_verification", "size")],
            ),
            (_, SeenBy::Sha256Verification) => (
                corruption.reason_code(),
                &[("policy.data_verification", "sha256")],
            ),
        };
        let options = WorldOptions::sample();
        let rig = Rig::on(Ground::S3, &options, GateOptions::default(), keys);
        corruption.apply(&rig.world).unwrap();
        rig.mirror();
        let ran = rig.stream(&[]);
        let seen = (ran.status, ran.reason());
        assert_eq!(
            seen,
            (1, code),
            "{corruption:?}: {}\n{}",
            ran.report,
            ran.stderr
        );
        // A part is hashed before its first row, when others may be under way.
        let late = [SeenBy::Streaming, SeenBy::Sha256Verification];
        if !late.contains(&corruption.seen_by()) {
            assert_eq!(rig.gate.stats().posts, 0, "{corruption:?}");
        }
    }
}

/// The folder of a gate's evidence in the sample world.
fn evidence(world: &World, segment: &str) -> PathBuf {
    let fingerprint = &world.identity().manifest_fingerprint;
    let folder = format!("data/{segment}/validation/manifest_fingerprint={fingerprint}");
    world.engine_run_root().join(folder)
}

fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

#[expect(clippy::too_many_lines, reason = "most of it is one table")]
fn faulty_gate_evidence_is_refused_by_name(ground: Ground) {
    type Spoil = fn(&Path);
    let cases: [(&str, &str, Spoil, &str, &str); 11] = [
        (
            "an absolute path",
            "layer3/6B",
            |at| {
                edit(&at.join("index.json"), |text| {
                    text.replace("report.json", "/etc/hostname")
                });
            },
            "OBJECT_PATH_REFUSED",
            "index.json",
        ),
        (
            "a path that leaves the root",
            "layer3/6B",
            |at| {
                edit(&at.join("index.json"), |text| {
                    text.replace("report.json", "../../../../../x")
                });
            },
            "OBJECT_PATH_REFUSED",
            "index.json",
        ),
        (
            "a path that leaves and returns",
            "layer3/6B",
            |at| {
                edit(&at.join("index.json"), |text| {
                    text.replace("report.json", "a/../report.json")
                });
            },
            "OBJECT_PATH_REFUSED",
            "index.json",
        ),
        (
            "a listed file that is missing",
            "layer2/5B",
            |at| {
                std::fs::remove_file(at.join("checks.jsonl")).unwrap();
            },
            "GATE_FILE_MISSING",
            "checks.jsonl",
        ),
        (
            "a bundle with its flag alone",
            "layer1/1A",
            |at| {
                for file in ["index.json", "report.json", "checks.jsonl", "a/nested.json"] {
                    std::fs::remove_file(at.join(file)).unwrap();
                }
            },
            "GATE_BUNDLE_EMPTY",
            "",
        ),
        (
            "an index that lists nothing",
            "layer1/3A",
            |at| {
                std::fs::write(at.join("index.json"), r#"{"members": []}"#).unwrap();
            },
            "GATE_BUNDLE_EMPTY",
            "",
        ),
        (
            "a flag with another field",
            "layer3/6B",
            |at| {
                edit(&at.join("_passed.flag"), |text| {
                    text.replace("sha256_hex", "sha256")
                });
            },
            "GATE_FLAG_INVALID",
            "_passed.flag",
        ),
        (
            "a JSON flag with another field",
            "layer2/5B",
            |at| {
                edit(&at.join("_passed.flag"), |text| {
                    text.replace("bundle_digest", "digest")
                });
            },
            "GATE_FLAG_INVALID",
            "_passed.flag",
        ),
        (
            "CRLF",
            "layer3/6B",
            |at| {
                edit(&at.join("_passed.flag"), |text| text.replace('\n', "\r\n"));
            },
            "GATE_FLAG_INVALID",
            "_passed.flag",
        ),
        (
            "upper case",
            "layer3/6B",
            |at| {
                edit(&at.join("_passed.flag"), |text| {
                    let (field, digest) = text.split_once(" = ").unwrap();
                    format!("{field} = {}", digest.to_uppercase())
                });
            },
            "GATE_FLAG_INVALID",
            "_passed.flag",
        ),
        (
            "an empty flag",
            "layer1/1A",
            |at| {
                std::fs::write(at.join("_passed.flag"), "").unwrap();
            },
            "GATE_FLAG_INVALID",
            "_passed.flag",
        ),
    ];
    for (what, segment, spoil, code, file) in cases {
        let keys = [("policy.gate_verification", "digest")];
        let rig = Rig::on(
            ground,
            &WorldOptions::sample(),
            GateOptions::default(),
            &keys,
        );
        let folder = evidence(&rig.world, segment);
        spoil(&folder);
        rig.mirror();
        println!("{what}");
        expect_refusal(
            &rig,
            &rig.stream(&[]),
            code,
            &rig.object_name(folder.join(file)),
        );
        let verified = rig.run(&["verify"], &[]);
        verified.expect(1, code);
    }
}

#[test]
fn a_symlink_out_of_the_root_is_refused_by_name() {
    let keys = [("policy.gate_verification", "digest")];
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &keys);
    let member = evidence(&rig.world, "layer3/6B").join("report.json");
    let outside = rig.folder.path().join("outside.json");
    std::fs::rename(&member, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &member).unwrap();
    let name = rig.object_name(&member);
    expect_refusal(&rig, &rig.stream(&[]), "OBJECT_PATH_REFUSED", &name);
}

fn an_output_of_more_parts_than_a_listing_page_is_whole(ground: Ground) {
    const PARTS: usize = 1_050;
    let output = OutputOptions {
        parts: PARTS,
        rows_per_part: 1,
        ..OutputOptions::of(SampleOutput::EventStreamBaseline)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    let rig = Rig::on(ground, &world, GateOptions::default(), &[]);
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(ran.report["emitted"], PARTS);
    let last = ran.report["per_output"][0]["cursor"]["last_part"].clone();
    let part = rig
        .world
        .parts(SampleOutput::EventStreamBaseline.id())
        .last()
        .unwrap();
    assert!(part.ends_with(last.as_str().unwrap()), "{last}");
}

fn odd_names_are_followed_letter_by_letter(ground: Ground) {
    let world = WorldOptions {
        scenario_id: "scénario 日本 =1 100% %41 a+b&c#~".to_owned(),
        ..WorldOptions::sample()
    };
    let keys = [
        ("policy.posture", "strict"),
        ("policy.data_verification", "sha256"),
        ("wiring.oracle_scenario_id", "null"),
    ];
    let rig = Rig::on(ground, &world, GateOptions::default(), &keys);
    // The bucket's prefix is odd already.
    let root = match ground {
        Ground::S3 => rig.engine_run_root(),
        Ground::Disk => {
            let odd = rig.folder.path().join("oracle run=1 100% %41/é日本");
            std::fs::create_dir_all(odd.parent().unwrap()).unwrap();
            std::fs::rename(rig.world.engine_run_root(), &odd).unwrap();
            odd.display().to_string()
        }
    };
    let ran = rig.stream(&["--engine-run-root", &root]);
    ran.expect(0, "");
    assert_eq!(ran.report["scenario_id"], world.scenario_id);
    assert_eq!(rig.gate.stats().unique, rig.rows());
}

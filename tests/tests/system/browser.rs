//! The live page in headless Chromium, beside real streams. `scripts/ensure-browser` installs what
//! it needs; what is missing fails.

use std::path::Path;
use std::process::Command;

use sandbox::{FaultRule, GateOptions, WorldOptions};
use serde_json::Value;
use system_tests::{Rig, signal};

use crate::console::{Consoled, TOKEN};
use crate::steering::rig;

/// Runs a scenario of `tests/browser/page.mjs` against a console.
#[track_caller]
fn browse(console: &Consoled, scenario: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let installed = folder.join("node_modules/.installed");
    assert!(installed.exists(), "scripts/ensure-browser has not run");
    let ran = Command::new("node")
        .current_dir(folder)
        .arg("page.mjs")
        .args(scenario)
        .env("WSP_PAGE_URL", format!("http://{}/", console.host))
        .env("WSP_PAGE_TOKEN", TOKEN)
        .output()
        .expect("node: scripts/ensure-browser installs it");
    let said = [ran.stdout, ran.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(ran.status.success(), "{scenario:?}: {said}");
}

#[test]
fn a_page_without_streams_says_how_to_start_one() {
    let rig = rig(&[]);
    browse(&Consoled::start(&rig, &[]), &["empty"]);
}

#[test]
fn a_page_that_only_reads_has_no_buttons() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let child = rig.start_stream(&[]);
    browse(&Consoled::start(&rig, &[]), &["read-only"]);
    signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
}

#[test]
fn the_page_moves_each_button_does_what_it_says_and_the_end_keeps_the_picture() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let child = rig.start_stream(&[]);
    browse(&Consoled::steering(&rig), &["steer"]);
    Rig::finish(child).expect(3, "STOPPED");
    let audit = rig.audit().into_iter();
    let acts: Vec<Value> = audit
        .filter(|line| line["event_kind"] == "stream_steered")
        .map(|line| line["details"].clone())
        .collect();
    let told: Vec<(&str, bool)> = acts
        .iter()
        .map(|act| (act["act"].as_str().unwrap(), act["applied"] == true))
        .collect();
    let expected = [
        ("pause", true),
        ("step", true),
        ("pace", true),
        ("pause_at", true),
        ("resume", true),
        ("pause", true),
        ("pause_at", false),
        ("stop", true),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&acts[1]["events"], &acts[2]["pace"]["speedup"]),
        (&7.into(), &240.0.into())
    );
    for act in acts {
        let name = act["on_behalf_of"].as_str().unwrap();
        assert!(name.starts_with("Browser (console, 127.0.0.1:"), "{act}");
    }
}

#[test]
#[ignore = "a figure: `make screenshots`"]
fn screenshots_of_the_page() {
    let folder = std::env::var("WSP_SCREENSHOTS").expect("make screenshots sets it");
    std::fs::create_dir_all(&folder).unwrap();
    let world = WorldOptions::sample().with_shape(4, 2_000);
    let rig = Rig::new(
        &world,
        GateOptions::default(),
        &[("policy.stream_speedup", "30")],
    );
    // Now and then it is busy, as a gate is.
    let fault = |text: &str| text.parse::<FaultRule>().unwrap().fault;
    let faults = [("status:503", 0.004), ("delay:60", 0.05)];
    let faults = faults.map(|(text, share)| FaultRule::for_share(share, fault(text)));
    rig.gate.set_faults(faults.to_vec()).unwrap();
    let child = rig.start_stream(&["--platform-run-id", "platform_20260128T090000Z"]);
    browse(&Consoled::steering(&rig), &["screenshots", &folder]);
    signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
}

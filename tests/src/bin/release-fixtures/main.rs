//! `make release-fixtures`: runs the binary beside this program over a sample world, and keeps what
//! it leaves under `tests/fixtures/releases/<version>/`.
//!
//! Fixtures are frozen: those of a version that are there stay, unless `--again` is said, which is
//! for a release that is not out yet.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a tool for the terminal"
)]

mod acts;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Dialect, FaultRule, GateOptions};
use system_tests::Rig;
use system_tests::releases::{
    Facts, Home, RUN, Release, Scrub, Site, SiteFacts, converse, copy_tree,
};
use wsp::control::find;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// How many events a stream delivers that is bounded.
const BOUND: &str = "60";
/// How many of 180 events a stream has delivered when it is killed.
const KILLED_AT: u64 = 110;

fn main() {
    let version = env!("CARGO_PKG_VERSION");
    let out = Release::folder_of_all().join(version);
    let again = std::env::args().any(|argument| argument == "--again");
    if out.exists() {
        if !again {
            eprintln!(
                "{} is there, and fixtures of a release are frozen. Of a version that is not out yet \
                 they are made with --again (AGAIN=1).",
                out.display()
            );
            std::process::exit(2);
        }
        fs::remove_dir_all(&out).expect("the old fixtures are removed");
    }
    fs::create_dir_all(&out).expect("the folder of the fixtures");
    let mut sites = Vec::new();
    let rows = steered_and_killed(&out, &mut sites);
    for home in [Home::Sqlite, Home::Postgres, Home::Object] {
        bounded(home, &out, &mut sites);
    }
    judged(&out, &mut sites);
    let facts = Facts {
        version: version.to_owned(),
        commit: commit(),
        rows,
        sites,
    };
    let mut text = serde_json::to_vec_pretty(&facts).expect("facts are JSON");
    text.push(b'\n');
    fs::write(out.join("release.json"), text).expect("the facts are kept");
    eprintln!("{}", out.display());
}

/// The commit of the working tree.
fn commit() -> String {
    let mut git = Command::new("git");
    let told = git.args(["rev-parse", "--short=12", "HEAD"]).output();
    let told = told.expect("git tells the commit").stdout;
    String::from_utf8_lossy(&told).trim().to_owned()
}

fn faults(rule: &str) -> Vec<FaultRule> {
    vec![rule.parse().expect("a fault rule")]
}

/// A gate that remembers what came, and refuses every twentieth event or so.
fn gate() -> GateOptions {
    GateOptions {
        record_arrivals: true,
        faults: faults("status:422,share=0.05"),
        ..GateOptions::default()
    }
}

/// The file site: a bounded stream, one that is steered and stopped, and one that is killed. Also
/// the world, and what `plan` and `verify` say of it. Answers the world's rows.
fn steered_and_killed(out: &Path, sites: &mut Vec<SiteFacts>) -> u64 {
    let site = Site::new(Home::File, gate(), &[]);
    let scrub = Scrub::of(site.rig.folder.path());
    copy_tree(site.rig.world.engine_run_root(), &out.join("world")).expect("the world is copied");
    for contract in [site.rig.world.catalogue(), site.rig.world.gate_map()] {
        let folder = out.join("contracts");
        fs::create_dir_all(&folder).expect("the folder of the contracts");
        let name = contract.file_name().expect("a contract has a name");
        fs::copy(contract, folder.join(name)).expect("a contract is copied");
    }
    // No run is named, so that the site gets a file that names the active one.
    fs::create_dir_all(site.rig.runs_root()).expect("the runs root");
    fs::write(
        site.rig.runs_root().join("ACTIVE_RUN_ID"),
        format!("{RUN}\n"),
    )
    .expect("the run");
    site.stream(&["--max-events", BOUND])
        .expect(0, "MAX_EVENTS");
    give_one_up(&site);
    steer(&site, &scrub, out);
    kill(&site);
    for command in ["plan", "verify"] {
        let ran = site.run(&[command], &[]);
        ran.expect(0, "");
        let text = scrub.text(&format!("{:#}\n", ran.report));
        fs::write(out.join(format!("{command}.json")), text).expect("a report is kept");
    }
    keep(&site, "file", true, &scrub, out, sites);
    site.rig.rows()
}

/// Sends every act to a stream that hardly moves by itself, and keeps the conversation.
fn steer(site: &Site, scrub: &Scrub, out: &Path) {
    let stream = start(site, "1");
    let began = Instant::now();
    let socket = loop {
        let found = find(&site.rig.runs_root(), Some(RUN)).expect("the runs root is looked into");
        if let Some(found) = found.into_iter().next() {
            break found.socket;
        }
        assert!(began.elapsed() < PATIENCE, "no stream to be steered");
        std::thread::sleep(Duration::from_millis(10));
    };
    let requests = acts::requests();
    let exchanges = converse(&socket, &requests);
    Rig::finish(stream).expect(3, "STOPPED");
    let mut text = String::new();
    for exchange in exchanges {
        let line = serde_json::to_string(&exchange).expect("an exchange is JSON");
        text = text + &scrub.text(&line) + "\n";
    }
    fs::write(out.join("control.jsonl"), text).expect("the conversation is kept");
}

/// Kills a stream in the middle.
fn kill(site: &Site) {
    let mut stream = start(site, "360");
    let began = Instant::now();
    while site.rig.gate.stats().unique < KILLED_AT {
        assert!(began.elapsed() < PATIENCE, "{:?}", site.rig.gate.stats());
        std::thread::sleep(Duration::from_millis(2));
    }
    stream.kill().expect("the stream is killed");
    stream.wait().expect("the stream has ended");
    assert!(site.rig.gate.settle(PATIENCE), "the gate settles");
}

fn start(site: &Site, speedup: &str) -> Child {
    let more = ["--platform-run-id", RUN, "--speedup", speedup];
    let mut stream = site.command(&["stream"], &more);
    stream
        .stderr(Stdio::piped())
        .spawn()
        .expect("wsp-cli starts")
}

/// A stream that ended at its bound, with cursors in a home.
fn bounded(home: Home, out: &Path, sites: &mut Vec<SiteFacts>) {
    let site = Site::new(home, gate(), &[]);
    let scrub = Scrub::of(site.rig.folder.path());
    site.stream(&["--max-events", BOUND])
        .expect(0, "MAX_EVENTS");
    if home == Home::Object {
        give_one_up(&site);
    }
    keep(&site, home.name(), false, &scrub, out, sites);
}

/// A run that the gate quarantined as a whole.
fn judged(out: &Path, sites: &mut Vec<SiteFacts>) {
    let gate = GateOptions {
        record_arrivals: true,
        dialect: Some(Dialect::Local),
        faults: faults("quarantine:SCHEMA_FAIL"),
        ..GateOptions::default()
    };
    let site = Site::new(Home::File, gate, &[]);
    let scrub = Scrub::of(site.rig.folder.path());
    let ran = site.stream(&["--max-events", "30"]);
    ran.expect(1, "GATE_QUARANTINED_ALL");
    keep(&site, "judged", false, &scrub, out, sites);
}

/// Gives up the first event that was set aside.
fn give_one_up(site: &Site) {
    let aside = site.set_aside();
    let first = aside.first().expect("an event was set aside");
    let ran = site.run(
        &["redrive"],
        &["--platform-run-id", RUN, "--give-up", first],
    );
    assert_eq!(ran.status, 0, "{}", ran.report);
}

fn keep(
    site: &Site,
    name: &str,
    killed: bool,
    scrub: &Scrub,
    out: &Path,
    sites: &mut Vec<SiteFacts>,
) {
    let folder = out.join("sites").join(name);
    site.keep(&folder);
    scrub.tree(&folder).expect("the fixtures are scrubbed");
    sites.push(SiteFacts {
        name: name.to_owned(),
        killed,
        at_the_gate: site.ids_at_the_gate().into_iter().collect(),
    });
}

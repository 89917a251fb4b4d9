//! A table of cursors that somebody drops: no table without cursors, and made again by the stream
//! that holds its leases.

use sandbox::WorldOptions;
use system_tests::Rig;
use system_tests::checkpoints::{Backend, Checkpoints, wait_for};

fn drop_table(checkpoints: &Checkpoints) {
    wait_for(checkpoints.server().execute("DROP TABLE wsp_checkpoint"));
}

#[test]
fn a_dropped_table_is_refused_until_its_cursors_are_given_up() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let rig = Rig::keeping(&checkpoints, &WorldOptions::sample(), &[]);
    rig.stream(&["--max-events", "50"]).expect(0, "MAX_EVENTS");
    drop_table(&checkpoints);
    rig.stream(&[]).expect(1, "CHECKPOINT_TABLE_MISSING");
    assert_eq!(rig.gate.stats().posts, 50);
    let shown = rig.run(&["checkpoint", "show"], &[]);
    shown.expect(1, "");
    let error = &shown.report["cursors"][0]["error"];
    assert_eq!(error["reason"], "CHECKPOINT_TABLE_MISSING");
    rig.run(&["checkpoint", "reset"], &[])
        .expect(2, "RESET_NOT_CONFIRMED");
    rig.stream(&[]).expect(1, "CHECKPOINT_TABLE_MISSING");

    rig.run(&["checkpoint", "reset"], &["--yes"]).expect(0, "");
    let ran = rig.stream(&[]);
    ran.expect(0, "");
    assert_eq!(ran.report["emitted"], rig.rows());
}

#[test]
fn a_table_that_is_dropped_in_mid_stream_is_made_again_and_nothing_comes_twice() {
    let checkpoints = Checkpoints::on(Backend::Postgres);
    let world = WorldOptions::sample().with_shape(2, 300);
    let keys = [
        ("wiring.wsp_checkpoint.flush_every", "40"),
        ("policy.stream_speedup", "600"),
    ];
    let rig = Rig::keeping(&checkpoints, &world, &keys);
    let child = rig.start_stream(&[]);
    rig.wait_for_unique(rig.rows() / 3);
    drop_table(&checkpoints);
    let ran = Rig::finish(child);
    ran.expect(0, "");
    let stats = rig.gate.stats();
    assert_eq!((stats.unique, stats.duplicates), (rig.rows(), 0));
    let audit = rig.audit();
    let mut remade = audit
        .iter()
        .filter(|line| line["event_kind"] == "checkpoint_store_remade");
    let details = &remade.next().expect("the audit says so")["details"];
    assert_eq!(details["times"], 1);
    assert!(
        !details["cursors"].as_array().unwrap().is_empty(),
        "{details}"
    );
    let again = rig.stream(&[]);
    again.expect(0, "");
    assert_eq!(again.report["emitted"], 0, "what was sent is durable");
}

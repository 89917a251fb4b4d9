//! SIGKILL at any moment: nothing missing, repeats within the bound.

use sandbox::{GateOptions, WorldOptions};
use system_tests::Rig;

const FLUSH_EVERY: u64 = 40;
const LANES: u64 = 16;

/// Kills in this test; the long form has more.
fn kills() -> u32 {
    std::env::var("WSP_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(100)
}

#[test]
fn a_hundred_kills_lose_nothing_and_repeat_within_the_bound() {
    let kills = kills();
    let world = WorldOptions::sample().with_shape(2, 5_000);
    let rig = Rig::new(
        &world,
        GateOptions::default(),
        &[
            (
                "wiring.wsp_checkpoint.flush_every",
                &FLUSH_EVERY.to_string(),
            ),
            ("wiring.wsp_push.lanes", &LANES.to_string()),
            ("policy.stream_speedup", "1800"),
        ],
    );
    // 50,000 events in two seconds of schedule, unbroken; kills come after random
    // numbers of further events, from none at all to about a hundredth of the world.
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut killed = 0;
    let mut worst = 0;
    while killed < kills {
        let before = rig.gate.stats();
        if before.unique == rig.rows() {
            break;
        }
        let mut child = rig.start_stream(&[]);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let target = (before.unique + random % 400).min(rig.rows());
        while rig.gate.stats().unique < target && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_micros(random % 900));
        }
        child.kill().unwrap();
        child.wait_with_output().unwrap();
        killed += 1;
        let repeated = rig.gate.stats().duplicates - before.duplicates;
        worst = worst.max(repeated);
        assert!(
            repeated <= FLUSH_EVERY + LANES,
            "{repeated} repeated after kill {killed}"
        );
    }
    let last = rig.stream(&["--speedup", "0"]);
    last.expect(0, "");
    let stats = rig.gate.stats();
    println!(
        "{killed} kills: {} missing, {} repeated, at most {worst} a kill ({} allowed)",
        rig.rows() - stats.unique,
        stats.duplicates,
        FLUSH_EVERY + LANES,
    );
    assert_eq!(killed, kills, "the world ended before the kills did");
    assert_eq!(stats.unique, rig.rows());
    assert!(stats.duplicates <= u64::from(killed) * (FLUSH_EVERY + LANES));
    assert_eq!(stats.invalid, 0);
}

//! Every byte that evidence binds, changed; every file, cut, lengthened, removed and
//! swapped: each is refused. What nothing binds is named here, and counted apart.

use std::ops::Range;

use crate::world::{World, in_bundle};

const GATES: [&str; 4] = ["bundle", "lex", "listed", "members"];
const FILES: [&str; 5] = [
    "_passed.flag",
    "index.json",
    "report.json",
    "checks.jsonl",
    "Z/nested.txt",
];

/// What a change of may pass unseen, by gate, file and text (none: the whole file).
const UNBOUND: [(&str, &str, Option<&str>); 6] = [
    // Not in the index of its gate.
    ("lex", "checks.jsonl", None),
    ("listed", "checks.jsonl", None),
    ("members", "Z/nested.txt", None),
    // A field that is no evidence.
    ("lex", "index.json", Some("version\": 1")),
    // Renamed, the item states no digest; the gate's own still covers the file.
    ("lex", "index.json", Some("\"sha256\"")),
    // The receipt lists this item as unbound: it names a folder.
    ("members", "index.json", Some("rows/seed=7")),
];

#[derive(Default, Debug)]
struct Count {
    tried: usize,
    refused: usize,
}

#[derive(Default)]
struct Tally {
    bound: Count,
    unbound: Count,
}

impl Tally {
    async fn try_world(&mut self, world: &World, gate: &str, binds: bool, what: &str) {
        let refused = world.clear(&[&format!("out.{gate}")]).await.is_err();
        let count = if binds {
            &mut self.bound
        } else {
            &mut self.unbound
        };
        count.tried += 1;
        count.refused += usize::from(refused);
        assert!(refused || !binds, "{what} of g.{gate} passed");
    }

    fn print(&self, what: &str) {
        let Self { bound, unbound } = self;
        assert!(bound.tried > 0 && bound.tried == bound.refused, "{bound:?}");
        println!(
            "{what}: {} tried where evidence binds, {} refused; {} tried where nothing does, {} refused",
            bound.tried, bound.refused, unbound.tried, unbound.refused
        );
    }
}

/// The world with each gate on its own, so that a refusal is the changed gate's.
fn independent_gates() -> World {
    let mut world = World::whole();
    let alone = |line: &str| match line.split_once("upstream_gate_dependencies:") {
        Some((indent, _)) => format!("{indent}upstream_gate_dependencies: []"),
        None => line.to_owned(),
    };
    let lines: Vec<_> = world.gate_map.lines().map(alone).collect();
    world.gate_map = lines.join("\n");
    world
}

fn unbound_bytes(gate: &str, file: &str, bytes: &[u8]) -> Vec<Range<usize>> {
    let of_file = UNBOUND.iter().filter(|(g, f, _)| (*g, *f) == (gate, file));
    let range = |text: Option<&str>| match text {
        None => 0..bytes.len(),
        Some(text) => {
            let at = bytes
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            let at = at.expect("the world has this text");
            at..at + text.len()
        }
    };
    of_file.map(|(_, _, text)| range(*text)).collect()
}

fn is_bound(gate: &str, file: &str) -> bool {
    !UNBOUND.contains(&(gate, file, None))
}

#[tokio::test]
async fn every_flipped_byte_that_evidence_binds_is_refused() {
    let world = independent_gates();
    let mut tally = Tally::default();
    for gate in GATES {
        for file in FILES {
            let key = in_bundle(&format!("g.{gate}"), file);
            let whole = world.read(&key);
            let unbound = unbound_bytes(gate, file, &whole);
            for at in 0..whole.len() {
                let binds = !unbound.iter().any(|range| range.contains(&at));
                for mask in [0x01, 0x20, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= mask;
                    world.write(&key, &bytes);
                    let what = format!("byte {at} ^ {mask:#04x} of {file}");
                    tally.try_world(&world, gate, binds, &what).await;
                }
            }
            world.write(&key, whole);
        }
        world
            .clear(&[&format!("out.{gate}")])
            .await
            .expect("the world is whole again");
    }
    tally.print("flipped bytes");
}

#[tokio::test]
async fn every_cut_lengthened_removed_or_swapped_file_is_refused() {
    let world = independent_gates();
    let mut tally = Tally::default();
    for gate in GATES {
        for (place, file) in FILES.into_iter().enumerate() {
            let key = in_bundle(&format!("g.{gate}"), file);
            let whole = world.read(&key);
            let binds = is_bound(gate, file);
            for length in [0, 1, whole.len() / 2, whole.len() - 1] {
                world.write(&key, &whole[..length]);
                // The line end of a flag carries no meaning, and may be absent.
                let binds = binds && whole[length..] != *b"\n";
                tally
                    .try_world(&world, gate, binds, &format!("{file}, cut to {length}"))
                    .await;
            }
            world.write(&key, [&whole, b"x".as_slice()].concat());
            tally
                .try_world(&world, gate, binds, &format!("{file}, lengthened"))
                .await;
            world.remove(&key);
            tally
                .try_world(&world, gate, binds, &format!("{file}, removed"))
                .await;
            for other in &FILES[place + 1..] {
                let other_key = in_bundle(&format!("g.{gate}"), other);
                let other_whole = world.read(&other_key);
                world.write(&key, &other_whole);
                world.write(&other_key, &whole);
                let binds = binds || is_bound(gate, other);
                tally
                    .try_world(&world, gate, binds, &format!("{file} and {other}, swapped"))
                    .await;
                world.write(&other_key, other_whole);
            }
            for other in GATES.into_iter().filter(|other| *other != gate) {
                world.write(&key, world.read(&in_bundle(&format!("g.{other}"), file)));
                tally
                    .try_world(
                        &world,
                        gate,
                        binds,
                        &format!("{file}, taken from g.{other}"),
                    )
                    .await;
            }
            world.write(&key, whole);
        }
        world
            .clear(&[&format!("out.{gate}")])
            .await
            .expect("the world is whole again");
    }
    tally.print("changed files");
}

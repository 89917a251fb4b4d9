//! Every byte that evidence binds, flipped; every file that it covers, cut, removed,
//! swapped for another: each is refused before the first push, a data part before its
//! first row.
//!
//! What nothing binds is counted apart, and must be exactly what [`unbound`] names.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sandbox::{OutputOptions, ProfileOptions, SampleOutput, World, WorldOptions};
use system_tests::Rig;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wsp::profile::Profile;
use wsp::{Overrides, StreamRequest};

const CONTENTS: &str = "_oracle_pack_contents.json";
const MANIFEST: &str = "_oracle_pack_manifest.json";
const SEAL: &str = "_SEALED.json";

/// How much evidence is asked for, beyond strict posture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// Manifest, seal and gates.
    Gates,
    /// The contents index too: it covers every object of the pack.
    Contents,
}

/// A tiny sealed world that is mutated one way at a time.
struct Bench {
    _folder: TempDir,
    world: World,
    request: StreamRequest,
    runtime: Runtime,
}

impl Bench {
    fn new(evidence: Evidence) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let output = |output, parts, rows_per_part| OutputOptions {
            parts,
            rows_per_part,
            ..OutputOptions::of(output)
        };
        // Parquet and JSON lines; all four gates.
        let world = WorldOptions::sample().with_outputs([
            output(SampleOutput::FlowAnchorWithFraud, 1, 2),
            output(SampleOutput::EventLabels, 2, 3),
        ]);
        let world = world.build(folder.path()).unwrap();
        let verification = match evidence {
            Evidence::Gates => "none",
            Evidence::Contents => "sha256",
        };
        let profile = ProfileOptions::local(&world, "http://127.0.0.1:9")
            .set("policy.posture", "strict")
            .set("policy.data_verification", verification)
            .write()
            .unwrap();
        let profile = Profile::load(&profile, &|_| None).unwrap();
        let bench = Self {
            _folder: folder,
            world,
            request: StreamRequest::of_process(profile, Overrides::default()).unwrap(),
            runtime: Runtime::new().unwrap(),
        };
        assert_eq!(bench.refusal(), None, "the world is sound");
        bench
    }

    /// Why the world may not be streamed: found before the first push, or before the
    /// first row of a part.
    fn refusal(&self) -> Option<&'static str> {
        let plan = match self.runtime.block_on(wsp::plan::plan(&self.request)) {
            Ok(plan) => plan,
            Err(error) => return Some(error.code()),
        };
        let mut parts = plan.outputs.iter().flat_map(|output| &output.locator.parts);
        parts.find_map(|part| Some(plan.data.verify_part(part).err()?.code().as_str()))
    }

    /// Every file of the world, by key.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.world.engine_run_root();
        let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(root).unwrap().to_str().unwrap();
                    files.insert(key.to_owned(), std::fs::read(&path).unwrap());
                }
            }
        }
        files
    }

    fn path(&self, key: &str) -> PathBuf {
        self.world.engine_run_root().join(key)
    }
}

/// What came of the mutations of one kind.
#[derive(Debug, Default)]
struct Tally {
    tried: u64,
    refused: u64,
    by_code: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts one mutation; whether it was refused.
    fn count(&mut self, refusal: Option<&'static str>) -> bool {
        self.tried += 1;
        if let Some(code) = refusal {
            self.refused += 1;
            *self.by_code.entry(code).or_default() += 1;
        }
        refusal.is_some()
    }

    fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.refused += other.refused;
        for (code, count) in other.by_code {
            *self.by_code.entry(code).or_default() += count;
        }
    }
}

/// The bytes of a file that no evidence binds.
///
/// - The times in manifest and seal: any RFC 3339 time is as good. Nor white space
///   around their JSON, and that of the contents index.
/// - Without the contents index: the name of the field in which an item of an index
///   states its own digest. Spoilt, the item states none, and the gate's digest alone
///   binds its file. And white space around the JSON of evidence.
fn unbound(evidence: Evidence, key: &str, bytes: &[u8]) -> Vec<Range<usize>> {
    let text = String::from_utf8_lossy(bytes);
    let mut ranges = Vec::new();
    let time = match key {
        MANIFEST => "\"created_at_utc\":\"",
        SEAL => "\"sealed_at_utc\":\"",
        _ => "",
    };
    if !time.is_empty() {
        let start = text.find(time).unwrap() + time.len();
        ranges.push(start..start + text[start..].find('"').unwrap());
    }
    let parsed_only = evidence == Evidence::Gates || [MANIFEST, SEAL, CONTENTS].contains(&key);
    if parsed_only && text.ends_with('\n') {
        ranges.push(bytes.len() - 1..bytes.len());
    }
    let index = key.ends_with("/index.json") || key.contains("_index_");
    if evidence == Evidence::Gates && index && !is_in_gate_digest(key) {
        for name in ["\"sha256\"", "\"sha256_hex\""] {
            let places = text.match_indices(name);
            ranges.extend(places.map(|(at, _)| at + 1..at + name.len() - 1));
        }
    }
    ranges
}

/// Whether an index's own bytes are part of its gate's digest, or its digest fields
/// must be there.
fn is_in_gate_digest(index: &str) -> bool {
    index.contains("/1A/") || index.contains("/3A/")
}

fn within(ranges: &[Range<usize>], bytes: Range<usize>) -> bool {
    bytes
        .clone()
        .all(|at| ranges.iter().any(|range| range.contains(&at)))
}

/// Flips the lowest bit of every `of`-th byte of the files, from `from` on.
fn flip(evidence: Evidence, covers: fn(&str) -> bool, from: usize, of: usize) -> (Tally, Tally) {
    let bench = Bench::new(evidence);
    let (mut bound, mut free) = (Tally::default(), Tally::default());
    for (key, bytes) in bench.files() {
        if !covers(&key) {
            continue;
        }
        let path = bench.path(&key);
        let unbound = unbound(evidence, &key, &bytes);
        for at in (from..bytes.len()).step_by(of) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            let refusal = bench.refusal();
            if within(&unbound, at..at + 1) {
                free.count(refusal);
            } else if !bound.count(refusal) {
                let near = &flipped[at.saturating_sub(20)..(at + 20).min(flipped.len())];
                let near = String::from_utf8_lossy(near);
                panic!("byte {at} of {key} may be flipped unseen ({evidence:?}): {near}");
            }
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(bench.refusal(), None, "the world is sound again");
    (bound, free)
}

/// Cuts, removes and swaps every file.
fn maul(evidence: Evidence, covers: fn(&str) -> bool) -> Tally {
    let bench = Bench::new(evidence);
    let mut tally = Tally::default();
    let mut refused = |what: String| assert!(tally.count(bench.refusal()), "{what} unseen");
    let files = bench.files();
    let files: Vec<_> = files.iter().filter(|(key, _)| covers(key)).collect();
    for (place, (key, bytes)) in files.iter().enumerate() {
        let path = bench.path(key);
        let unbound = unbound(evidence, key, bytes);
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            if !within(&unbound, length..bytes.len()) {
                std::fs::write(&path, &bytes[..length]).unwrap();
                refused(format!("{key} cut to {length} bytes"));
            }
        }
        std::fs::remove_file(&path).unwrap();
        refused(format!("{key} removed"));
        for (other, others) in &files[place + 1..] {
            let other_path = bench.path(other);
            std::fs::write(&path, others).unwrap();
            std::fs::write(&other_path, bytes).unwrap();
            refused(format!("{key} swapped with {other}"));
            std::fs::write(&other_path, others).unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(bench.refusal(), None, "the world is sound again");
    tally
}

/// Tries every mutation on two threads, each on a world of its own.
fn all(evidence: Evidence, covers: fn(&str) -> bool) {
    let (mut bound, mut free, mut mauled) = Default::default();
    std::thread::scope(|scope| {
        let flips = [0, 1].map(|from| scope.spawn(move || flip(evidence, covers, from, 2)));
        let mauls = scope.spawn(move || maul(evidence, covers));
        for half in flips {
            let (half_bound, half_free) = half.join().unwrap();
            Tally::add(&mut bound, half_bound);
            Tally::add(&mut free, half_free);
        }
        mauled = mauls.join().unwrap();
    });
    println!(
        "{evidence:?}: {} of {} bound bytes flipped and refused; {} of {} files cut, removed or \
         swapped and refused; of {} unbound bytes, {} flips refused as malformed\n  {:?}",
        bound.refused,
        bound.tried,
        mauled.refused,
        mauled.tried,
        free.tried,
        free.refused,
        bound.by_code,
    );
    assert_eq!((bound.refused, mauled.refused), (bound.tried, mauled.tried));
    assert!(bound.tried > 1_000 && free.refused < free.tried);
}

#[test]
fn every_byte_of_manifest_seal_and_gates_is_bound() {
    all(Evidence::Gates, |key| {
        key.contains("/validation/") || [MANIFEST, SEAL].contains(&key)
    });
}

#[test]
fn every_byte_of_the_pack_is_bound_by_its_contents_index() {
    all(Evidence::Contents, |_| true);
}

#[test]
fn a_flipped_byte_of_the_second_part_stops_the_stream_before_its_first_row() {
    let output = OutputOptions::of(SampleOutput::EventStreamBaseline);
    let rows = output.rows_per_part;
    let options = WorldOptions::sample().with_outputs([output]);
    let keys = [
        ("policy.data_verification", "sha256"),
        ("policy.stream_order", "as_written"),
    ];
    for share in [4, 2] {
        let rig = Rig::new(&options, sandbox::GateOptions::default(), &keys);
        let part: &Path = &rig.world.parts(SampleOutput::EventStreamBaseline.id())[1];
        let mut bytes = std::fs::read(part).unwrap();
        let at = bytes.len() / share;
        bytes[at] ^= 1;
        std::fs::write(part, bytes).unwrap();
        let ran = rig.stream(&[]);
        ran.expect(1, "DATA_MISMATCH");
        assert_eq!(
            rig.gate.stats().unique,
            rows,
            "the first part whole, nothing of the second"
        );
        assert!(
            ran.report["detail"]
                .as_str()
                .unwrap()
                .contains(part.to_str().unwrap())
        );
    }
}

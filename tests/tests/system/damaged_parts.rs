//! Parquet parts that the decoder gives up on: refused by every command with a reason that
//! names the file, without a word of a panic on standard error.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use oracle_store::{
    Catalogue, ObjectStoreConfig, OutputId, ReadOptions, RunReceipt, Tokens, WorldStore, locate,
    read_column, resolve_engine_run_root, resolve_scenario_id,
};
use sandbox::{GateOptions, OutputOptions, SampleOutput, WorldOptions};
use system_tests::Rig;

const OUTPUT: SampleOutput = SampleOutput::EventStreamBaseline;

fn rig(keys: &[(&str, &str)]) -> Rig {
    let output = OutputOptions {
        parts: 1,
        rows_per_part: 20,
        ..OutputOptions::of(OUTPUT)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    Rig::new(&world, GateOptions::default(), keys)
}

fn part_of(rig: &Rig) -> PathBuf {
    rig.world.parts(OUTPUT.id())[0].clone()
}

/// Where a part's footer holds the Arrow schema, in base64.
fn arrow_schema_of(part: &[u8]) -> std::ops::Range<usize> {
    let key = b"ARROW:schema";
    let after = part
        .windows(key.len())
        .position(|text| text == key)
        .unwrap()
        + key.len();
    let start = after
        + part[after..]
            .windows(4)
            .position(|text| text == b"////")
            .unwrap();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let length = part[start..].iter().position(|byte| !is_base64(byte));
    start..start + length.unwrap()
}

/// The same schema with integers of 128 bits in place of those of 64, as Polars writes them.
fn with_wide_integers(schema: &[u8]) -> Vec<u8> {
    let mut bytes = BASE64_STANDARD.decode(schema).unwrap();
    let (from, to) = (64_i32.to_le_bytes(), 128_i32.to_le_bytes());
    let mut found = 0;
    for at in (0..bytes.len() - 4).step_by(4) {
        if bytes[at..at + 4] == from {
            bytes[at..at + 4].copy_from_slice(&to);
            found += 1;
        }
    }
    assert!(found > 0, "the part has integers of 64 bits");
    BASE64_STANDARD.encode(bytes).into_bytes()
}

/// Runs every command on a rig whose part is damaged: each names the part, and what else.
fn assert_refused_everywhere(rig: &Rig, what: &str) {
    let name = rig.object_name(part_of(rig));
    let commands: [&[&str]; 4] = [
        &["plan"],
        &["verify", "--order"],
        &["verify", "--data", "--order"],
        &["stream"],
    ];
    for command in commands {
        // That standard error has no panic is looked at for every command.
        let ran = rig.run(command, &[]);
        let text = ran.report.to_string();
        assert_eq!(ran.status, 1, "{command:?}: {text}");
        for part in ["ORACLE_READ_FAILED", &name, what] {
            assert!(text.contains(part), "{command:?} without {part}: {text}");
        }
        for word in ["RUST_BACKTRACE", "not supported"] {
            assert!(!ran.stderr.contains(word), "{command:?}: {}", ran.stderr);
        }
    }
    assert_eq!(rig.gate.stats().posts, 0, "nothing is pushed");
}

#[test]
fn a_column_of_128_bits_is_refused_by_every_command() {
    let rig = rig(&[]);
    let mut bytes = std::fs::read(part_of(&rig)).unwrap();
    let schema = arrow_schema_of(&bytes);
    let wide = with_wide_integers(&bytes[schema.clone()]);
    bytes[schema].copy_from_slice(&wide);
    std::fs::write(part_of(&rig), bytes).unwrap();
    assert_refused_everywhere(&rig, "integer of 128 bits");
}

#[test]
fn an_arrow_schema_of_garbage_is_refused_by_every_command() {
    let rig = rig(&[]);
    let whole = std::fs::read(part_of(&rig)).unwrap();
    let schema = arrow_schema_of(&whole);
    for garbage in [b'A', b'!', b'/'] {
        let mut bytes = whole.clone();
        bytes[schema.clone()].fill(garbage);
        std::fs::write(part_of(&rig), bytes).unwrap();
        assert_refused_everywhere(&rig, "Arrow schema");
    }
}

/// Reads the event times of the rig's part; the text of the error, if there is one.
fn read_times(store: &WorldStore, part: &oracle_store::Part) -> Option<String> {
    let times = read_column(store, part, "ts_utc", &ReadOptions::default());
    let read = times.and_then(|mut times| times.try_for_each(|batch| batch.map(drop)));
    read.err().map(|error| error.to_string())
}

async fn located(rig: &Rig) -> (WorldStore, oracle_store::Part) {
    let root = resolve_engine_run_root(&rig.engine_run_root(), None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let receipt = RunReceipt::load(&store).await.unwrap();
    let catalogue = std::fs::read(rig.world.catalogue()).unwrap();
    let catalogue = Catalogue::parse(&catalogue).unwrap();
    let entry = catalogue.output(&OutputId::new(OUTPUT.id())).unwrap();
    let tokens = Tokens::of_run(&receipt);
    let scenario = resolve_scenario_id(&store, &[], &[entry], &tokens)
        .await
        .unwrap();
    let located = locate(&store, entry, &tokens.with_scenario(&scenario)).await;
    let part = located.unwrap().parts[0].clone();
    (store, part)
}

#[test]
fn a_page_that_the_decoder_panics_on_is_refused_without_a_word_of_it() {
    oracle_store::silence_decoder_panics();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rig = rig(&[]);
    let path = part_of(&rig);
    let whole = std::fs::read(&path).unwrap();
    let mut given_up = 0;
    for at in 4..whole.len() {
        for value in [0, 0x15, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            std::fs::write(&path, bytes).unwrap();
            let (store, part) = runtime.block_on(located(&rig));
            let text = read_times(&store, &part).unwrap_or_default();
            if text.contains("gave up") {
                given_up += 1;
                if given_up <= 3 {
                    assert_refused_everywhere(&rig, "gave up");
                }
            }
        }
        if given_up >= 3 {
            return;
        }
    }
    panic!("the decoder gave up on {given_up} damaged parts only");
}

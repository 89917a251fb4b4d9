//! One part of a world on disk, read as a stream reads it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use envelope::{EventTime, FrameSpec, Framer, PinValues, Pins};
use gates::{ClearanceRequest, GateMap, VerificationMode, clear};
use oracle_store::{
    Catalogue, Error, ObjectStoreConfig, OutputId, Part, Posture, ReadGrant, ReadMemory,
    ReadOptions, Rows, RunReceipt, Tokens, WorldStore, footer, locate, open_rows, read_event_times,
    resolve_engine_run_root,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::is_refusal;

/// What reading may refuse a part by.
const READ_CODES: [&str; 2] = ["ORACLE_READ_FAILED", "MEMORY_BUDGET_EXCEEDED"];
/// What framing may refuse a row by.
const FRAME_CODES: [&str; 5] = [
    "EVENT_TIME_INVALID",
    "MISSING_EVENT_TIME",
    "PAYLOAD_VALUE_UNSUPPORTED",
    "PRIMARY_KEY_MISSING",
    "PRIMARY_KEY_TYPE_UNSUPPORTED",
];
/// What a part may take in memory beyond the usual.
const MEMORY: u64 = 64 << 20;

thread_local! {
    static IN_REFERENCE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps contained panics of the decoder, and those of the reference reader, from ending the
/// process: call it once, behind libFuzzer's own hook.
pub fn let_decoders_panic() {
    oracle_store::silence_decoder_panics();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IN_REFERENCE.get() {
            hook(panic);
        }
    }));
}

struct World {
    folder: PathBuf,
    tokens: Tokens,
    catalogue: Catalogue,
}

/// The folder of this process, below that for temporary files.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("wsp-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for temporary files");
    let receipt = serde_json::json!({
        "run_id": "0".repeat(32), "manifest_fingerprint": "a".repeat(64),
        "parameter_hash": "b".repeat(64), "seed": 7,
    });
    let receipt = RunReceipt::parse(receipt.to_string().as_bytes()).expect("a receipt");
    let catalogue = b"outputs:
- {output_id: parquet, class: stream, path_template: part.parquet, primary_key: [id], read_requires_gates: []}
- {output_id: jsonl, class: stream, path_template: part.jsonl, primary_key: [id], read_requires_gates: []}
";
    World {
        folder,
        tokens: Tokens::of_run(&receipt),
        catalogue: Catalogue::parse(catalogue).expect("a catalogue"),
    }
});

/// The rows of a part as they are framed, up to the first fault.
#[derive(Debug, Default)]
struct Framed {
    rows: u64,
    bodies: Vec<Bytes>,
    times: Vec<EventTime>,
    /// The code, row and field of the first row that cannot be framed.
    bad: Option<(&'static str, Option<u64>, Option<String>)>,
}

/// The laws of a part: `output` is `parquet` or `jsonl`, `pick` chooses batch size and start.
///
/// # Panics
/// If one is broken.
pub fn keeps_the_laws(output: &str, bytes: &[u8], pick: u8) {
    let (store, part) = located(output, bytes);
    let grant = granted(&store, part.output_id());
    let read = |from_row, batch_rows| {
        read(
            &grant,
            &part,
            ReadOptions {
                from_row,
                batch_rows,
            },
        )
    };
    let whole = match read(0, 1_024) {
        Ok(whole) => whole,
        Err(error) => {
            is_fault_of(&error, &store, &part);
            assert!(read(0, 1).is_err(), "row by row it is read: {error}");
            return;
        }
    };
    // However it is cut into batches, and wherever reading begins.
    let cut = read(0, 1 + usize::from(pick % 7)).expect("batches of another size are read");
    assert_eq!(
        (cut.rows, &cut.bad, &cut.bodies),
        (whole.rows, &whole.bad, &whole.bodies)
    );
    let from = u64::from(pick) % (whole.rows + 1);
    match read(from, 1_024) {
        Ok(suffix) => {
            assert_eq!(suffix.rows, whole.rows - from);
            if whole.bad.is_none() {
                assert_eq!(suffix.bodies, whole.bodies[from as usize..]);
            }
        }
        // Rows of a damaged page may be passed over by other steps than they are read by; it is
        // said so, and no other rows are given.
        Err(error) => is_fault_of(&error, &store, &part),
    }
    let beyond = read(whole.rows + 1, 1_024).expect_err("no row is past the end");
    is_fault_of(&beyond, &store, &part);
    let known = footer(&store, &part).expect("its rows were read");
    assert!(
        known.rows.is_none_or(|rows| rows == whole.rows),
        "the footer counts otherwise"
    );
    has_times(&store, &part, &whole);
    if output == "parquet" {
        reads_as_the_reference(bytes, &grant, &part, whole.rows);
    }
}

fn located(output: &str, bytes: &[u8]) -> (WorldStore, Part) {
    let world = &*WORLD;
    std::fs::write(world.folder.join(format!("part.{output}")), bytes).expect("it is written");
    let root = world.folder.to_str().expect("a plain name");
    let root = resolve_engine_run_root(root, None, "/".as_ref()).expect("it exists");
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).expect("a store on disk");
    let store = store.with_memory(ReadMemory::new(MEMORY));
    let entry = world
        .catalogue
        .output(&OutputId::new(output))
        .expect("an entry");
    let located = futures::executor::block_on(locate(&store, entry, &world.tokens));
    let part = located.expect("one part").parts.remove(0);
    (store, part)
}

/// The grant of an output that requires no gate.
fn granted(store: &WorldStore, output_id: &OutputId) -> ReadGrant {
    let world = &*WORLD;
    let gate_map = GateMap::parse("no gates", b"gates: []").expect("a gate map");
    let request = ClearanceRequest {
        store,
        tokens: &world.tokens,
        catalogue: &world.catalogue,
        gate_map: &gate_map,
        outputs: std::slice::from_ref(output_id),
        mode: VerificationMode::Digest,
        posture: Posture::Local,
        require_gate_pass: true,
    };
    let clearance = futures::executor::block_on(clear(&request)).expect("no gate is required");
    clearance.grant(output_id).expect("it is cleared").clone()
}

fn framer(output_id: &OutputId) -> Framer {
    let pins = Pins::new(PinValues {
        manifest_fingerprint: "a".repeat(64),
        parameter_hash: "b".repeat(64),
        seed: 7,
        scenario_id: "baseline".to_owned(),
        run_id: "0".repeat(32),
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        producer: "svc:fuzz".to_owned(),
        ..PinValues::default()
    });
    let spec = FrameSpec::new(output_id.as_str(), ["id"], pins.expect("pins"));
    Framer::new(&spec).expect("a spec")
}

/// Reads the rows and frames them, as a stream does.
fn read(grant: &ReadGrant, part: &Part, options: ReadOptions) -> Result<Framed, Error> {
    let mut framer = framer(part.output_id());
    let mut framed = Framed::default();
    let mut next = options.from_row;
    for batch in open_rows(grant, part, &options)? {
        let batch = batch?;
        assert_eq!(batch.first_row, next, "a row is left out or repeated");
        assert!((1..=options.batch_rows).contains(&batch.rows.len()));
        next += batch.rows.len() as u64;
        framed.rows += batch.rows.len() as u64;
        if framed.bad.is_some() {
            continue;
        }
        let result = match &batch.rows {
            Rows::Arrow(columns) => framer.frame(part.path(), batch.first_row, columns),
            Rows::JsonLines(lines) => {
                framer.frame_json_lines(part.path(), batch.first_row, lines.iter())
            }
        };
        let (rows, error) = match result {
            Ok(rows) => (rows, None),
            Err(bad) => {
                let (rows, error) = bad.into_parts();
                (rows, Some(error))
            }
        };
        for index in 0..rows.len() {
            let body = rows.body(index);
            envelope::validate(&body).expect("an envelope by its schema");
            framed.bodies.push(body);
            framed.times.push(rows.time(index));
        }
        if let Some(error) = error {
            is_refusal(&error, &FRAME_CODES);
            let place = model::Refusal::place(&error);
            assert_eq!(place.object(), Some(part.path()));
            assert_eq!(place.row(), Some(batch.first_row + rows.len() as u64));
            let field = place.field().map(str::to_owned);
            framed.bad = Some((model::Refusal::code(&error), place.row(), field));
        }
    }
    Ok(framed)
}

fn is_fault_of(error: &Error, store: &WorldStore, part: &Part) {
    is_refusal(error, &READ_CODES);
    let object = model::Refusal::place(error).object();
    assert_eq!(object, Some(&*store.full_name(part.path())), "{error}");
}

/// The time column read alone says what the rows say.
fn has_times(store: &WorldStore, part: &Part, whole: &Framed) {
    let times = read_event_times(store, part, &ReadOptions::default());
    let times: Result<Vec<_>, _> = times.and_then(Iterator::collect);
    let times = match times {
        // The times are all that is looked at: a line that names its time twice has none.
        Err(error) if whole.bad.is_some() => return is_fault_of(&error, store, part),
        times => times.expect("its rows were read"),
    };
    let times: Vec<_> = times.into_iter().flat_map(|(_, times)| times).collect();
    assert_eq!(times.len() as u64, whole.rows);
    for (alone, time) in times.iter().zip(&whole.times) {
        assert_eq!(alone.as_ref(), Some(time));
    }
}

/// The reader of the `parquet` crate alone, in one go.
fn reads_as_the_reference(bytes: &[u8], grant: &ReadGrant, part: &Part, rows: u64) {
    IN_REFERENCE.set(true);
    let bytes = Bytes::copy_from_slice(bytes);
    let reference = std::panic::catch_unwind(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .ok()?
            .build()
            .ok()?;
        reader.collect::<Result<Vec<_>, _>>().ok()
    });
    IN_REFERENCE.set(false);
    let Ok(Some(reference)) = reference else {
        return;
    };
    let counted: u64 = reference.iter().map(|batch| batch.num_rows() as u64).sum();
    assert_eq!(counted, rows, "the reference reads other rows");
    let ours = open_rows(grant, part, &ReadOptions::default()).expect("it was read");
    let mut reference = reference
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| batch.slice(row, 1)));
    for batch in ours {
        let Rows::Arrow(batch) = batch.expect("it was read").rows else {
            panic!("a Parquet part has columns");
        };
        for row in 0..batch.num_rows() {
            let theirs = reference.next().expect("as many rows");
            if theirs.schema().fields() == batch.schema().fields() {
                assert_eq!(theirs.columns(), batch.slice(row, 1).columns());
            }
        }
    }
}

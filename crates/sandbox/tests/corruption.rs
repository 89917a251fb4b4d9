//! Every corruption leads to its reason code in the rooms that see it, and a world
//! without one passes them all.
//!
//! The rooms are walked here in a run's order, without the run: `oracle-store`, `gates`,
//! `envelope`. The whole-system tests walk them by a real one.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use envelope::{FrameSpec, Framer, PinValues, Pins};
use gates::{ClearanceRequest, GateMap, VerificationMode};
use oracle_store::{
    Catalogue, ContentsIndex, DataVerification, ObjectStoreConfig, OutputId, OutputLocator,
    PackExpectation, Posture, ReadGrant, ReadOptions, Rows, RunReceipt, ScenarioId, Tokens,
    WorldStore,
};
use sandbox::{
    Compression, Corruption, Disorder, OutputOptions, Pack, SampleOutput, SeenBy, TimeColumn,
    World, WorldOptions,
};

/// How hard a walk looks.
#[derive(Clone, Copy)]
struct Look {
    posture: Posture,
    gates: VerificationMode,
    data: DataVerification,
}

impl Look {
    const LOCAL: Self = Self {
        posture: Posture::Local,
        gates: VerificationMode::Presence,
        data: DataVerification::None,
    };
    const HARDEST: Self = Self {
        posture: Posture::Strict,
        gates: VerificationMode::Digest,
        data: DataVerification::Sha256,
    };

    fn that_sees(seen_by: SeenBy) -> Self {
        match seen_by {
            SeenBy::AnyRun | SeenBy::Streaming => Self::LOCAL,
            SeenBy::StrictPosture => Self {
                posture: Posture::Strict,
                gates: VerificationMode::Digest,
                ..Self::LOCAL
            },
            SeenBy::DigestVerification => Self {
                gates: VerificationMode::Digest,
                ..Self::LOCAL
            },
            SeenBy::SizeVerification => Self {
                data: DataVerification::Size,
                ..Self::LOCAL
            },
            SeenBy::Sha256Verification => Self {
                data: DataVerification::Sha256,
                ..Self::LOCAL
            },
        }
    }
}

/// A fault's code and the sentence that goes with it.
type Fault = (String, String);

macro_rules! fault {
    ($result:expr) => {
        $result.map_err(|error| (error.code().as_str().to_owned(), error.to_string()))
    };
}

/// Walks a world to its last row; answers how many rows were framed, and the fault that
/// stopped the walk.
async fn walk(world: &World, look: Look) -> (u64, Option<Fault>) {
    let mut framed = 0;
    let fault = walk_to_fault(world, look, &mut framed).await.err();
    (framed, fault)
}

async fn walk_to_fault(world: &World, look: Look, framed: &mut u64) -> Result<(), Fault> {
    let catalogue = fault!(Catalogue::load(world.catalogue()))?;
    let gate_map = fault!(GateMap::load(world.gate_map()))?;
    let root = world.engine_run_root();
    let root = fault!(oracle_store::resolve_engine_run_root(
        root.to_str().unwrap(),
        None,
        root
    ))?;
    let store = fault!(WorldStore::open(root, &ObjectStoreConfig::default()))?;
    let receipt = fault!(RunReceipt::load(&store).await)?;
    let scenario = ScenarioId::parse(&world.identity().scenario_id).unwrap();
    let world_key = receipt.world_key(scenario.clone());
    let expected = PackExpectation {
        posture: look.posture,
        world_key: &world_key,
        catalogue_digest: catalogue.digest(),
        gate_map_digest: gate_map.digest(),
        oracle_pack_id: None,
    };
    let pack = fault!(oracle_store::check_pack(&store, &expected).await)?;
    let outputs: Vec<OutputId> = world
        .streamable_output_ids()
        .into_iter()
        .map(OutputId::new)
        .collect();
    let tokens = Tokens::of_run(&receipt).with_scenario(&scenario);
    let request = ClearanceRequest {
        store: &store,
        tokens: &tokens,
        catalogue: &catalogue,
        gate_map: &gate_map,
        outputs: &outputs,
        mode: look.gates,
        posture: look.posture,
        require_gate_pass: true,
    };
    let clearance = fault!(gates::clear(&request).await)?;
    let mut located = Vec::new();
    for output in &outputs {
        let entry = catalogue.output(output).unwrap();
        located.push(fault!(oracle_store::locate(&store, entry, &tokens).await)?);
    }
    let contents = match (look.data, &pack.oracle_pack_id) {
        (DataVerification::None, _) | (_, None) => None,
        (_, Some(id)) => Some(fault!(ContentsIndex::load(&store, id).await)?),
    };
    for output in &located {
        for part in &output.parts {
            fault!(oracle_store::footer(&store, part))?;
        }
        if let Some(contents) = &contents {
            fault!(contents.check_parts(&store, output))?;
            for part in &output.parts {
                fault!(contents.verify_part(&store, part, look.data).await)?;
            }
        }
    }
    for output in &located {
        let key = &catalogue.output(&output.output_id).unwrap().primary_key;
        let framer = Framer::new(&FrameSpec {
            output_id: output.output_id.clone(),
            primary_key: key.clone(),
            pins: pins(world),
        });
        let grant = clearance.grant(&output.output_id).unwrap();
        frame_all(output, grant, fault!(framer)?, framed)?;
    }
    Ok(())
}

fn frame_all(
    output: &OutputLocator,
    grant: &ReadGrant,
    mut framer: Framer,
    framed: &mut u64,
) -> Result<(), Fault> {
    for part in &output.parts {
        let options = ReadOptions::default();
        for batch in fault!(oracle_store::open_rows(grant, part, &options))? {
            let batch = fault!(batch)?;
            let events = match &batch.rows {
                Rows::Arrow(rows) => framer.frame(part.path(), batch.first_row, rows),
                Rows::JsonLines(lines) => {
                    framer.frame_json_lines(part.path(), batch.first_row, lines.iter())
                }
            };
            match events {
                Ok(events) => *framed += events.len() as u64,
                Err(bad) => {
                    let (events, error) = bad.into_parts();
                    *framed += events.len() as u64;
                    return fault!(Err(error));
                }
            }
        }
    }
    Ok(())
}

fn pins(world: &World) -> Pins {
    let identity = world.identity().clone();
    let values = PinValues {
        manifest_fingerprint: identity.manifest_fingerprint,
        parameter_hash: identity.parameter_hash,
        seed: identity.seed,
        scenario_id: identity.scenario_id,
        run_id: identity.run_id,
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        scenario_run_id: None,
        producer: "svc:world_stream_producer".to_owned(),
        trace_id: None,
        span_id: None,
    };
    Pins::new(values).unwrap()
}

fn build(options: &WorldOptions) -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = options.build(folder.path()).unwrap();
    (folder, world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_corruption_leads_to_its_code() {
    for corruption in Corruption::ALL {
        let (_folder, world) = build(&WorldOptions::sample());
        corruption.apply(&world).unwrap();
        let (framed, fault) = walk(&world, Look::that_sees(corruption.seen_by())).await;
        let (code, detail) = fault.unwrap_or_else(|| panic!("{corruption:?} is not seen"));
        assert_eq!(code, corruption.reason_code(), "{corruption:?}: {detail}");
        match corruption {
            Corruption::TimeNull
            | Corruption::TimeUnreadable
            | Corruption::KeyNull
            | Corruption::PayloadNan => assert_eq!(framed, 250, "the rows before it: {detail}"),
            _ => assert_eq!(framed, 0, "{corruption:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_corruption_is_seen_by_is_the_least_that_sees_it() {
    for corruption in Corruption::ALL {
        let (_folder, world) = build(&WorldOptions::sample());
        corruption.apply(&world).unwrap();
        if matches!(corruption.seen_by(), SeenBy::AnyRun | SeenBy::Streaming) {
            continue;
        }
        let (_, fault) = walk(&world, Look::LOCAL).await;
        // A byte that was flipped in a part may break it for every reader.
        let broken = *corruption == Corruption::PartByteFlipped;
        assert!(fault.is_none() || broken, "{corruption:?}: {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_of_every_output_passes_the_hardest_look() {
    let all = SampleOutput::ALL.map(OutputOptions::of);
    let options = WorldOptions {
        instance_proofs: true,
        ..WorldOptions::sample()
    };
    let (_folder, world) = build(&options.with_outputs(all));
    let (framed, fault) = walk(&world, Look::HARDEST).await;
    assert_eq!(fault, None);
    assert_eq!(framed, 7 * 1_000 + 500, "all but the output without a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worlds_of_every_shape_are_read_to_their_last_row() {
    use arrow_schema::TimeUnit;
    let traffic = OutputOptions {
        parts: 6,
        rows_per_part: 333,
        row_group_rows: 100,
        ..OutputOptions::of(SampleOutput::EventStreamWithFraud)
    };
    let timestamps = |unit, zone: Option<&str>| TimeColumn::Timestamp {
        unit,
        zone: zone.map(str::to_owned),
    };
    let shapes = [
        OutputOptions {
            compression: Compression::None,
            overlap: 6,
            ..traffic.clone()
        },
        OutputOptions {
            compression: Compression::Lz4,
            ties: 10,
            ..traffic.clone()
        },
        OutputOptions {
            compression: Compression::Alternating,
            disorder: Some(Disorder {
                every_nth_part: 1,
                window_rows: 1_000,
            }),
            ..traffic.clone()
        },
        OutputOptions {
            time: timestamps(TimeUnit::Second, None),
            ..traffic.clone()
        },
        OutputOptions {
            time: timestamps(TimeUnit::Nanosecond, Some("UTC")),
            ..traffic.clone()
        },
        OutputOptions {
            time: timestamps(TimeUnit::Millisecond, Some("+02:00")),
            ..traffic
        },
    ];
    for shape in shapes {
        let (_folder, world) = build(&WorldOptions::sample().with_outputs([shape]));
        assert_eq!(walk(&world, Look::HARDEST).await, (6 * 333, None));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_without_rows_are_whole_parts() {
    let empty = |output| OutputOptions {
        rows_per_part: 0,
        ..OutputOptions::of(output)
    };
    let outputs = [SampleOutput::EventStreamBaseline, SampleOutput::EventLabels].map(empty);
    let (_folder, world) = build(&WorldOptions::sample().with_outputs(outputs));
    assert_eq!(walk(&world, Look::HARDEST).await, (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_postures_take_packs_as_far_as_they_should() {
    for (pack, local, strict) in [
        (Pack::None, None, Some("PACK_MANIFEST_MISSING")),
        (Pack::Unsealed, None, Some("PACK_NOT_SEALED")),
        (Pack::SealedByFlag, None, Some("PACK_NOT_SEALED")),
        (Pack::Sealed, None, None),
    ] {
        let (_folder, world) = build(&WorldOptions {
            pack,
            ..WorldOptions::sample()
        });
        for (look, code) in [(Look::LOCAL, local), (Look::HARDEST, strict)] {
            let (_, fault) = walk(&world, look).await;
            assert_eq!(
                fault.as_ref().map(|fault| fault.0.as_str()),
                code,
                "{pack:?}: {fault:?}"
            );
        }
    }
}

#[test]
fn a_corruption_that_finds_nothing_to_corrupt_says_so() {
    let ungated = [OutputOptions::of(SampleOutput::MerchantProfile)];
    let options = WorldOptions {
        pack: Pack::None,
        ..WorldOptions::sample()
    };
    let (_folder, world) = build(&options.with_outputs(ungated));
    for corruption in [Corruption::FlagMissing, Corruption::PartGarbage] {
        let applied = corruption
            .apply(&world)
            .map_err(|error| error.code().as_str());
        let expected = match corruption {
            Corruption::FlagMissing => Err("SANDBOX_OPTIONS_INVALID"),
            _ => Ok(()),
        };
        assert_eq!(applied, expected, "{corruption:?}");
    }
    let error = Corruption::SealMissing.apply(&world).unwrap_err();
    assert_eq!(error.code().as_str(), "SANDBOX_IO");
}

#[test]
fn every_corruption_is_listed_once() {
    let names: HashSet<String> = Corruption::ALL.iter().map(|c| format!("{c:?}")).collect();
    assert_eq!(names.len(), Corruption::ALL.len());
}

//! Every corruption leads to its reason code in the rooms that see it, and a world
//! without one passes them all.
//!
//! The rooms are walked here in a run's order, without the run: `gates`, `oracle-store`,
//! `envelope`. The whole-system tests walk them by a real one.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use envelope::{FrameSpec, Framer, PinValues, Pins};
use gates::{AttestRequest, Check, VerificationMode, attest};
use oracle_store::{
    DataVerification, ObjectStoreConfig, OutputLocator, Posture, ReadGrant, ReadOptions, Rows,
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

/// The world of a walk, opened as a service would open it.
fn asked(world: &World, look: Look) -> Result<AttestRequest, Fault> {
    let root = world.engine_run_root();
    let root = fault!(oracle_store::resolve_engine_run_root(
        root.to_str().unwrap(),
        None,
        root
    ))?;
    let store = fault!(WorldStore::open(root, &ObjectStoreConfig::default()))?;
    let outputs = world.streamable_output_ids();
    let asked = AttestRequest::new(store, world.catalogue(), world.gate_map(), outputs);
    Ok(asked
        .scenario_id(Some(world.identity().scenario_id.clone()))
        .posture(look.posture)
        .gate_verification(look.gates)
        .data_verification(Some(look.data)))
}

async fn walk_to_fault(world: &World, look: Look, framed: &mut u64) -> Result<(), Fault> {
    let attested = fault!(attest(&asked(world, look)?).await)?;
    for output in &attested.outputs {
        for part in &output.locator.parts {
            fault!(oracle_store::footer(&attested.store, part))?;
            fault!(attested.data.verify_part(part).await)?;
        }
    }
    for output in &attested.outputs {
        let (id, key) = (output.id(), output.entry.primary_key.clone());
        let time = match id.as_str() {
            "s1_session_index_6B" => "session_start_utc",
            _ => "ts_utc",
        };
        let spec = FrameSpec::new(id.clone(), key, pins(world)).timed_by(time);
        let framer = Framer::new(&spec);
        let grant = attested.grant(output.id()).unwrap();
        frame_all(&output.locator, grant, fault!(framer)?, framed)?;
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
async fn a_damaged_world_is_not_attested_and_the_refusal_says_why_where_and_what_to_do() {
    for (corruption, check, names) in [
        (
            Corruption::ReceiptMissing,
            Check::Receipt,
            "run_receipt.json",
        ),
        (
            Corruption::ManifestGarbage,
            Check::Pack,
            "_oracle_pack_manifest.json",
        ),
        (
            Corruption::CatalogueOther,
            Check::Pack,
            "_oracle_pack_manifest.json",
        ),
        (Corruption::SealMissing, Check::Pack, "_SEALED.json"),
        (Corruption::SealFailed, Check::Pack, "_SEALED.json"),
        (Corruption::FlagMissing, Check::Gates, "_passed.flag"),
        (Corruption::PartByteFlipped, Check::Data, "part-"),
    ] {
        let (_folder, world) = build(&WorldOptions::sample());
        corruption.apply(&world).unwrap();
        let request = asked(&world, Look::HARDEST).unwrap();
        let refused = match attest(&request).await {
            Ok(attested) if check == Check::Data => {
                // Parts are hashed one by one, before the first row of each.
                let first = &attested.outputs[0].locator.parts[0];
                let fault = attested.data.verify_part(first).await.unwrap_err();
                assert_eq!(fault.code().as_str(), corruption.reason_code());
                assert!(fault.object_name().unwrap().contains(names));
                continue;
            }
            attested => attested.unwrap_err(),
        };
        assert_eq!(refused.code().as_str(), corruption.reason_code());
        assert_eq!(refused.check(), check, "{refused}");
        assert!(refused.object_name().unwrap().contains(names), "{refused}");
        assert!(refused.advice().ends_with('.'), "{refused}");
        assert!(refused.to_string().contains(refused.advice()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_posture_attests_a_sealed_world_and_refuses_one_without_a_seal() {
    let sealed = build(&WorldOptions::sample());
    let request = asked(&sealed.1, Look::HARDEST).unwrap();
    let attested = attest(&request).await.unwrap();
    assert!(attested.pack.facts_verified);
    assert_eq!(attested.world_key.seed, sealed.1.identity().seed);
    assert!(
        attested
            .receipts()
            .iter()
            .all(|gate| gate.failure.is_none())
    );
    for pack in [Pack::None, Pack::Unsealed, Pack::SealedByFlag] {
        let (_folder, world) = build(&WorldOptions {
            pack,
            contents_index: false,
            ..WorldOptions::sample()
        });
        let refused = attest(&asked(&world, Look::HARDEST).unwrap())
            .await
            .unwrap_err();
        assert_eq!(refused.check(), Check::Pack, "{pack:?}: {refused}");
        let local = Look {
            data: DataVerification::None,
            ..Look::LOCAL
        };
        attest(&asked(&world, local).unwrap()).await.unwrap();
    }
}

/// The walk to the first refusal and the walk to the end are one list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_refusal_of_an_examination_is_the_one_that_a_reader_meets() {
    let mut seen = 0;
    for corruption in Corruption::ALL {
        let (_folder, world) = build(&WorldOptions::sample());
        corruption.apply(&world).unwrap();
        let look = Look {
            data: DataVerification::Size,
            ..Look::HARDEST
        };
        let Ok(asked) = asked(&world, look) else {
            continue;
        };
        let Ok(identified) = asked.clone().identify().await else {
            continue;
        };
        let examined = identified.examine(true).await;
        let Err(refused) = attest(&asked).await else {
            continue;
        };
        seen += 1;
        let first = &examined.refusals[0];
        assert_eq!(
            (first.check(), first.code(), first.to_string()),
            (refused.check(), refused.code(), refused.to_string()),
            "{corruption:?}"
        );
        let checks: Vec<_> = examined
            .refusals
            .iter()
            .map(gates::AttestError::check)
            .collect();
        assert!(checks.is_sorted(), "{corruption:?}: {checks:?}");
    }
    assert!(seen > 30, "{seen} corruptions were refused");
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

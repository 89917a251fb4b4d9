//! Figures of reading from a bucket, for `docs/benchmarks.md`. They assert nothing about
//! time.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gates::{ClearanceRequest, GateMap, VerificationMode};
use oracle_store::{
    Catalogue, CatalogueEntry, ObjectStoreConfig, OutputId, Posture, ReadOptions, RetryPolicy,
    RunReceipt, ScenarioId, Tokens, WorldStore, locate, open_rows, resolve_engine_run_root,
};
use sandbox::{GateOptions, OutputOptions, SampleOutput, World, WorldOptions};
use system_tests::{Ground, Rig};
use tokio::runtime::Runtime;

#[test]
#[ignore = "a figure: requests to S3 before the first event"]
fn figures_requests_before_the_first_event() {
    for (posture, verification) in [("local", "none"), ("strict", "size"), ("strict", "sha256")] {
        for order in ["as_written", "event_time"] {
            let gate = GateOptions {
                record_arrivals: true,
                ..GateOptions::default()
            };
            let keys = [
                ("policy.posture", posture),
                ("policy.data_verification", verification),
                ("policy.stream_order", order),
            ];
            let rig = Rig::on(Ground::S3, &WorldOptions::sample(), gate, &keys);
            rig.stream(&[]).expect(0, "");
            let first = rig.gate.arrivals()[0].arrived_ns;
            let first = rig.gate.epoch().0 + std::time::Duration::from_nanos(first);
            let requests = rig.bucket.as_ref().unwrap().requests();
            let before = requests.iter().filter(|(at, _)| *at < first);
            let count = |method: &str| {
                let of_method = before.clone().filter(|(_, r)| r.method.as_str() == method);
                of_method.count()
            };
            println!(
                "{posture}, data {verification}, {order}: {} requests before the first event \
                 ({} GET, {} HEAD; listings are GETs), {} in all, 10 parts",
                before.clone().count(),
                count("GET"),
                count("HEAD"),
                requests.len(),
            );
        }
    }
}

#[test]
#[ignore = "a figure: rows a second from S3 on loopback against local disk"]
fn figures_rows_a_second_from_s3_against_disk() {
    const ROUNDS: usize = 5;
    let output = OutputOptions {
        parts: 4,
        rows_per_part: 250_000,
        row_group_rows: 65_536,
        ..OutputOptions::of(SampleOutput::EventStreamBaseline)
    };
    let world = WorldOptions::sample().with_outputs([output]);
    let rig = Rig::on(Ground::S3, &world, GateOptions::default(), &[]);
    let root = |text: &str| resolve_engine_run_root(text, None, Path::new("/")).unwrap();
    let on_disk = rig.world.engine_run_root().to_str().unwrap();
    let on_disk = WorldStore::open(root(on_disk), &ObjectStoreConfig::default()).unwrap();
    let client = Arc::new(rig.bucket.as_ref().unwrap().client());
    let in_bucket = root(&rig.engine_run_root());
    let in_bucket = WorldStore::with_object_store(in_bucket, client, RetryPolicy::default());
    let (mut disk, mut s3) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        disk.push(rows_a_second(&on_disk, &rig.world));
        s3.push(rows_a_second(&in_bucket, &rig.world));
    }
    let median = |figures: &mut Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    let (disk, s3) = (median(&mut disk), median(&mut s3));
    println!(
        "disk {disk:.0} rows/s, S3 on loopback {s3:.0} rows/s, ratio {:.2}",
        s3 / disk
    );
}

/// Clears the world's output and reads all its rows, part after part.
fn rows_a_second(store: &WorldStore, world: &World) -> f64 {
    let runtime = Runtime::new().unwrap();
    let (grant, parts) = runtime.block_on(async {
        let receipt = RunReceipt::load(store).await.unwrap();
        let scenario = ScenarioId::parse(&world.identity().scenario_id).unwrap();
        let tokens = Tokens::of_run(&receipt).with_scenario(&scenario);
        let catalogue = Catalogue::load(world.catalogue()).unwrap();
        let gate_map = GateMap::load(world.gate_map()).unwrap();
        let id = OutputId::new(SampleOutput::EventStreamBaseline.id());
        let entry: CatalogueEntry = catalogue.output(&id).unwrap().clone();
        let request = ClearanceRequest {
            store,
            tokens: &tokens,
            catalogue: &catalogue,
            gate_map: &gate_map,
            outputs: std::slice::from_ref(&id),
            mode: VerificationMode::Digest,
            posture: Posture::Strict,
            require_gate_pass: true,
        };
        let clearance = gates::clear(&request).await.unwrap();
        let located = locate(store, &entry, &tokens).await.unwrap();
        (clearance.grant(&id).unwrap().clone(), located.parts)
    });
    let began = Instant::now();
    let options = ReadOptions::default();
    let mut read = 0;
    for part in &parts {
        for batch in open_rows(&grant, part, &options).unwrap() {
            read += batch.unwrap().rows.len();
        }
    }
    assert_eq!(read as u64, world.options().rows());
    read as f64 / began.elapsed().as_secs_f64()
}

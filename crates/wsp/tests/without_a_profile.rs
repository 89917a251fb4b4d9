//! A stream without a profile: attested, built, run, resumed; and what building refuses.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use checkpoint::MemoryStore;
use gates::{AttestRequest, AttestedWorld, GateMap, attest};
use oracle_store::{Catalogue, ObjectStoreConfig, WorldStore, resolve_engine_run_root};
use push::{ClientOptions, DirectClient, PushEndpoint};
use sandbox::{GateOptions, StandInGate, World, WorldOptions};
use wsp::profile::{Producer, StreamRequestBuilder};
use wsp::replay::LaneOrdering;
use wsp::{Bounds, Refusal as _, Speedup, Status, Stream, StreamReport, StreamRequest};

async fn attested(world: &World) -> AttestedWorld {
    let root = world.engine_run_root().to_str().unwrap();
    let root = resolve_engine_run_root(root, None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let catalogue = Arc::new(Catalogue::load(world.catalogue()).unwrap());
    let gate_map = GateMap::load(world.gate_map()).unwrap();
    let outputs = world.streamable_output_ids();
    let request = AttestRequest::new(store, catalogue, gate_map, outputs);
    attest(&request).await.unwrap()
}

fn builder(world: AttestedWorld, runs_root: &Path) -> StreamRequestBuilder {
    StreamRequest::builder(world)
        .producer(Producer::trusted("svc:backfill").unwrap())
        .runs_root(runs_root)
        .pace(Speedup::UNPACED)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attested_world_streams_and_resumes_without_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let world = WorldOptions::sample()
        .build(&folder.path().join("world"))
        .unwrap();
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    let store = Arc::new(MemoryStore::default());
    let endpoint = PushEndpoint::parse(&gate.url()).unwrap();
    let run = async |bounds| -> StreamReport {
        let request = builder(attested(&world).await, &folder.path().join("runs"))
            .bounds(bounds)
            .flush_every(50)
            .build()
            .unwrap();
        let client = DirectClient::new(&endpoint, ClientOptions::default()).unwrap();
        let stream = Stream::new(request);
        stream
            .run_with(store.clone(), client, endpoint.as_str())
            .await
            .unwrap()
    };
    let first = run(Bounds {
        events: Some(1_500),
        ..Bounds::default()
    })
    .await;
    assert_eq!(first.status, Status::Streamed, "{:?}", first.detail);
    let rest = run(Bounds::default()).await;
    assert_eq!(rest.status, Status::Streamed, "{:?}", rest.detail);
    let stats = gate.stats();
    assert_eq!(
        (stats.unique, stats.duplicates),
        (WorldOptions::sample().rows(), 0)
    );
    assert_eq!(first.emitted + rest.emitted, stats.unique);
}

/// What a caller asks for besides.
type Change = fn(StreamRequestBuilder) -> StreamRequestBuilder;

#[tokio::test]
async fn what_a_profile_would_be_refused_for_is_refused_in_code_too() {
    let folder = tempfile::tempdir().unwrap();
    let world = WorldOptions::sample().with_shape(1, 10);
    let world = world.build(&folder.path().join("world")).unwrap();
    let changes: [(&str, &str, Change); 8] = [
        ("REQUEST_INVALID", "`lanes`", |request| request.lanes(0)),
        ("REQUEST_INVALID", "`lanes`", |request| {
            request.lanes(100_000)
        }),
        ("REQUEST_INVALID", "`lanes`", |request| {
            request.lanes(0).lane_ordering(LaneOrdering::Strict)
        }),
        ("REQUEST_INVALID", "`flush_every`", |request| {
            request.flush_every(0)
        }),
        ("REQUEST_INVALID", "`lease`", |request| {
            request.lease(Duration::ZERO)
        }),
        ("REQUEST_INVALID", "`runs_root`", |request| {
            request.runs_root("runs")
        }),
        ("REQUEST_INVALID", "`bounds`", |request| {
            request.bounds(Bounds {
                events_per_output: Some(0),
                ..Bounds::default()
            })
        }),
        ("PROFILE_INVALID", "window", |request| {
            let time = "2026-01-28T08:00:00Z".parse().unwrap();
            request.from(time).to(time)
        }),
    ];
    for (code, place, change) in changes {
        let request = builder(attested(&world).await, &folder.path().join("runs"));
        let refused = change(request).build().unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.to_string().contains(place), "{refused}");
    }
    let nobody = StreamRequest::builder(attested(&world).await).runs_root("/runs");
    assert!(
        nobody
            .build()
            .unwrap_err()
            .to_string()
            .contains("`producer`")
    );
    assert_eq!(
        Producer::trusted(" ").unwrap_err().code(),
        "PRODUCER_ID_MISSING"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_was_not_attested_and_a_runs_root_in_the_world_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = WorldOptions::sample().with_shape(1, 10);
    let world = world.build(&folder.path().join("world")).unwrap();
    let endpoint = PushEndpoint::parse("http://127.0.0.1:9").unwrap();
    let ids = world.streamable_output_ids();
    let in_world = world.engine_run_root().join("runs");
    for (outputs, runs_root, code) in [
        (
            vec!["nobodys_output".to_owned()],
            folder.path().join("runs"),
            "OUTPUT_NOT_IN_POLICY",
        ),
        (Vec::new(), folder.path().join("runs"), "NO_TRAFFIC_OUTPUTS"),
        (
            vec![ids[0].clone()],
            in_world,
            "ENGINE_ROOT_IN_PLATFORM_RUNS",
        ),
    ] {
        let request = builder(attested(&world).await, &runs_root);
        let request = request.outputs(outputs).build().unwrap();
        let client = DirectClient::new(&endpoint, ClientOptions::default()).unwrap();
        let store = Arc::new(MemoryStore::default());
        let refused = Stream::new(request)
            .run_with(store, client, "nowhere")
            .await
            .unwrap_err();
        let report = refused.report();
        assert_eq!((refused.code(), report.reason), (code, Some(code)));
        assert_eq!((report.status, report.emitted), (Status::Failed, 0));
        let failure = report.failure.as_ref().unwrap();
        assert_eq!((failure.code, &failure.place), (code, refused.place()));
        assert_eq!(failure.advice, refused.advice());
        assert!(!refused.is_retryable() && refused.to_string().contains(&failure.advice));
    }
}

//! Everything async under an executor that knows nothing of tokio.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use checkpoint::{
    CheckpointStore, Cursor, CursorKey, FileStore, Holder, LeaseKeeper, LeaseRequest, MemoryStore,
    OrderPosition, PackKey, RowSource, SqliteStore, acquire_or_wait,
};
use durable::BootClock;
use gates::{AttestRequest, AttestedWorld, GateMap, attest};
use model::SharedClock;
use oracle_store::{Catalogue, ObjectStoreConfig, SealStatus, WorldStore, resolve_engine_run_root};
use push::{
    ClientOptions, ConcurrencyLimit, DirectClient, GateWatch, PushClient, PushEndpoint, Pusher,
    ReqwestClient, RetryPolicy, Stop, ask_health,
};
use sandbox::{FaultRule, GateOptions, Pack, ProfileOptions, StandInGate, World, WorldOptions};
use wsp::clock::Surroundings;
use wsp::profile::{Producer, Profile};
use wsp::redrive::{Redrive, RedriveOptions, RedriveStatus};
use wsp::replay::State;
use wsp::{Overrides, Speedup, Status, Stream, StreamRequest};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor that knows nothing of tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

fn attested(world: &World) -> AttestedWorld {
    let root = world.engine_run_root().to_str().unwrap();
    let root = resolve_engine_run_root(root, None, Path::new("/")).unwrap();
    let store = WorldStore::open(root, &ObjectStoreConfig::default()).unwrap();
    let catalogue = Arc::new(Catalogue::load(world.catalogue()).unwrap());
    let gate_map = GateMap::load(world.gate_map()).unwrap();
    let outputs = world.streamable_output_ids();
    let request = AttestRequest::new(store, catalogue, gate_map, outputs);
    block_on(attest(&request)).unwrap()
}

/// Saves a cursor and finds it again, by every method that a store has.
async fn saved_and_found(store: Arc<dyn CheckpointStore>) {
    let key = CursorKey::new(PackKey::of_root("runs/world"), "arrivals").unwrap();
    let request = LeaseRequest::new([key.clone()], Holder::this_process("svc:test"));
    let lease = store.acquire(&request).await.unwrap();
    store.renew(&lease).await.unwrap();
    let cursor = Cursor {
        last_part: "a.parquet".to_owned(),
        last_file: "runs/world/a.parquet".to_owned(),
        source: RowSource::Outputs,
        last_row_index: 41,
        last_ts_utc: None,
        order: OrderPosition::AsWritten,
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        plan_digest: "ab".repeat(32),
        done: None,
    };
    let cursors = BTreeMap::from([(key.clone(), cursor)]);
    store.save_many(&lease, &cursors).await.unwrap();
    let record = store.load(&key).await.unwrap().unwrap();
    assert_eq!(record.cursor.last_row_index(), 41);
    assert!(store.lease_state(&key).await.unwrap().is_some());
    assert!(!store.history(&key, 10).await.unwrap().is_empty());
    store.reset(&lease, &key).await.unwrap();
    store.release(&lease).await.unwrap();
}

#[test]
fn checkpoint_stores_and_leases_go_under_any_executor() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn CheckpointStore>; 3] = [
        Arc::new(MemoryStore::default()),
        Arc::new(FileStore::new(folder.path().join("files"))),
        Arc::new(SqliteStore::new(folder.path().join("cursors.db"))),
    ];
    for store in stores {
        block_on(saved_and_found(Arc::clone(&store)));
        let key = CursorKey::new(PackKey::of_root("runs/world"), "flows").unwrap();
        let request = LeaseRequest::new([key], Holder::this_process("svc:test"));
        let (clock, never) = (SharedClock::new(BootClock), std::future::pending::<()>());
        let kept = block_on(LeaseKeeper::acquire(
            &store,
            &request,
            clock,
            |_, _| {},
            never,
        ));
        let (lease, keeper) = kept.unwrap();
        assert!(keeper.watch().is_held());
        drop(keeper);
        block_on(store.release(&lease)).unwrap();
        block_on(acquire_or_wait(&*store, &request, &BootClock, |_, _| {})).unwrap();
    }
}

#[test]
fn an_attested_world_streams_under_any_executor() {
    let folder = tempfile::tempdir().unwrap();
    let world = WorldOptions::sample();
    let world = world.build(&folder.path().join("world")).unwrap();
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    let endpoint = PushEndpoint::parse(&gate.url()).unwrap();
    let request = StreamRequest::builder(attested(&world))
        .producer(Producer::trusted("svc:test").unwrap())
        .runs_root(folder.path().join("runs"))
        .pace(Speedup::UNPACED)
        .build()
        .unwrap();
    let client = DirectClient::new(&endpoint, ClientOptions::default()).unwrap();
    let store = Arc::new(SqliteStore::new(folder.path().join("cursors.db")));
    let mut stream = Stream::new(request).start_paused("test");
    let (steering, mut changes) = (stream.steering(), stream.state_changes());
    let steered = thread::spawn(move || {
        let stepped = block_on(steering.step_until_acknowledged(7, "test")).unwrap();
        assert_eq!(stepped.meters.acknowledged, 7);
        block_on(steering.resume("test")).unwrap();
    });
    let ran = block_on(stream.run_with(store, client, endpoint.as_str())).unwrap();
    steered.join().unwrap();
    assert_eq!(ran.status, Status::Streamed, "{:?}", ran.detail);
    assert_eq!(ran.emitted, WorldOptions::sample().rows());
    let first = block_on(changes.next()).unwrap();
    assert_eq!((first.from, first.to), (State::Starting, State::Paused));
}

#[test]
fn pushes_go_under_any_executor() {
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    let endpoint = PushEndpoint::parse(&gate.url()).unwrap();
    let health = block_on(ask_health(&endpoint, ClientOptions::default())).unwrap();
    // Any answer will do.
    assert!(health.status > 0);
    let watch = || {
        Arc::new(GateWatch::new(
            RetryPolicy::default(),
            ConcurrencyLimit::fixed(),
        ))
    };
    let (stop, body) = (Stop::new(), || "{}".into());
    let client = DirectClient::new(&endpoint, ClientOptions::default()).unwrap();
    let direct = block_on(Pusher::new(client.lane(), watch(), &stop).push(body()));
    let client = ReqwestClient::new(&endpoint, ClientOptions::default()).unwrap();
    let library = block_on(Pusher::new(client.lane(), watch(), &stop).push(body()));
    for outcome in [direct, library] {
        let refused = outcome.into_decision().unwrap_err();
        assert_eq!(refused.reason().as_str(), "IG_PUSH_REJECTED", "{refused}");
    }
}

#[test]
fn what_a_profile_asks_for_goes_under_any_executor() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = WorldOptions::sample().with_shape(1, 20);
    world.pack = Pack::None;
    let world = world.build(&folder.path().join("world")).unwrap();
    let refused_once: FaultRule = "status:422,next=1".parse().unwrap();
    let gate = StandInGate::start(GateOptions {
        faults: vec![refused_once],
        ..GateOptions::default()
    });
    let gate = gate.unwrap();
    let profile = ProfileOptions::local(&world, &gate.url());
    let profile = profile.set("wiring.wsp_push.on_reject", "quarantine");
    let profile = profile.write().unwrap();
    let profile = Profile::load(&profile, &|_| None).unwrap();
    let request = || StreamRequest::of_process(profile.clone(), Overrides::default()).unwrap();
    let packed = wsp::pack::PackOptions {
        engine_release: "1.0".to_owned(),
        seal_status: SealStatus::SealedOk,
        with_contents: true,
        dry_run: false,
    };
    block_on(wsp::pack::pack_world(&request(), packed)).unwrap();
    block_on(wsp::plan::plan(&request())).unwrap();
    block_on(wsp::outline(&request(), &Surroundings::default())).unwrap();
    block_on(wsp::verify::verify(
        &request(),
        wsp::verify::VerifyOptions::default(),
    ))
    .unwrap();
    block_on(wsp::doctor::examine(
        &request(),
        &Surroundings::default(),
        None,
    ))
    .unwrap();
    let stream = Stream::new(request()).with_control_socket();
    let ran = block_on(stream.run()).unwrap();
    assert_eq!(ran.status, Status::Streamed, "{:?}", ran.detail);
    assert!(ran.quarantine.is_some(), "one event was set aside");
    block_on(wsp::cursors::show(&request(), &Surroundings::default())).unwrap();
    block_on(wsp::cache::show(&request())).unwrap();
    let redriven = block_on(Redrive::new(request(), RedriveOptions::default()).run());
    assert_eq!(
        redriven.status,
        RedriveStatus::Redriven,
        "{:?}",
        redriven.detail
    );
    assert_eq!(redriven.redriven, 1);
    block_on(wsp::cursors::reset(&request(), &Surroundings::default())).unwrap();
    block_on(wsp::cache::clear(&request())).unwrap();
}

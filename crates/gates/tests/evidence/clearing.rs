//! Evidence that holds: what a clearance says and what its receipts record.

use std::path::Path;
use std::sync::Arc;

use gates::{Basis, ClearanceStatus, GATE_RECEIPT_SCHEMA, GateId, GateReceipt, GateStatus};
use gates::{UnboundReason, VerificationMode::Digest, VerificationMode::Presence};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use oracle_store::{
    Catalogue, OutputId, Posture, ReadOptions, RetryPolicy, WorldStore, locate, open_rows,
    resolve_engine_run_root,
};

use crate::world::{World, in_bundle, sha256, tokens};

const ALL: [&str; 5] = [
    "out.free",
    "out.bundle",
    "out.lex",
    "out.listed",
    "out.members",
];

fn ids(receipts: &[GateReceipt]) -> Vec<&str> {
    receipts
        .iter()
        .map(|receipt| receipt.gate_id.as_str())
        .collect()
}

fn assert_valid(receipt: &GateReceipt) {
    let schema: serde_json::Value = serde_yaml::from_str(GATE_RECEIPT_SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let json = serde_json::to_value(receipt).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&json)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {json:#}");
    assert_eq!(
        serde_json::from_value::<GateReceipt>(json).unwrap(),
        *receipt
    );
}

#[tokio::test]
async fn digest_mode_verifies_the_closure_once_with_dependencies_first() {
    let world = World::whole();
    let clearance = world.clear(&ALL).await.unwrap();
    assert_eq!(clearance.status(), ClearanceStatus::Cleared);
    assert_eq!(
        ids(clearance.receipts()),
        ["g.bundle", "g.lex", "g.listed", "g.members"]
    );
    for output in ALL {
        let grant = clearance.grant(&OutputId::new(output)).unwrap();
        assert_eq!(grant.output_id().as_str(), output);
    }
    assert!(clearance.grant(&OutputId::new("out.unknown")).is_none());

    let one = world.clear(&["out.lex"]).await.unwrap();
    assert_eq!(ids(one.receipts()), ["g.bundle", "g.lex"]);
}

#[tokio::test]
async fn presence_mode_looks_at_the_required_flags_and_reads_none() {
    let world = World::whole();
    world.write(&in_bundle("g.members", "_passed.flag"), "nonsense");
    world.remove(&in_bundle("g.bundle", "_passed.flag"));
    let clearance = world
        .clear_as(&["out.members"], Presence, Posture::Local, true)
        .await
        .unwrap();
    let [receipt] = clearance.receipts() else {
        panic!("one gate is required")
    };
    assert_eq!(receipt.status, GateStatus::Pass);
    assert_eq!((receipt.bytes_hashed, receipt.digest.as_ref()), (0, None));
    assert_eq!(
        receipt.artifacts[0].path,
        in_bundle("g.members", "_passed.flag")
    );
    assert_eq!(receipt.artifacts[0].sha256, None);
    assert_valid(receipt);
}

#[tokio::test]
async fn an_output_that_requires_no_gate_is_cleared_and_says_so() {
    let world = World::whole();
    let clearance = world.clear(&["out.free", "out.bundle"]).await.unwrap();
    assert_eq!(
        clearance.basis(&OutputId::new("out.free")),
        Some(&Basis::NoGateRequired)
    );
    let gates = vec![GateId::new("g.bundle")];
    assert_eq!(
        clearance.basis(&OutputId::new("out.bundle")),
        Some(&Basis::GatesPassed(gates))
    );
    let json = serde_json::to_value(clearance.basis(&OutputId::new("out.bundle"))).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"basis": "gates_passed", "gates": ["g.bundle"]})
    );
}

#[tokio::test]
async fn a_local_waiver_clears_without_looking_and_is_marked() {
    let world = World::whole();
    world.remove(&in_bundle("g.bundle", "_passed.flag"));
    let clearance = world
        .clear_as(&["out.unknown"], Digest, Posture::Local, false)
        .await
        .unwrap();
    assert_eq!(clearance.status(), ClearanceStatus::Waived);
    assert!(clearance.receipts().is_empty());
    let waived = Basis::GatesWaived(vec![GateId::new("g.none")]);
    assert_eq!(
        clearance.basis(&OutputId::new("out.unknown")),
        Some(&waived)
    );
    assert!(clearance.grant(&OutputId::new("out.unknown")).is_some());
}

#[tokio::test]
async fn receipts_record_digest_artifacts_and_what_binds_each_item() {
    let world = World::whole();
    let receipts = world.receipts(&ALL, Digest).await;
    receipts.iter().for_each(assert_valid);
    let [bundle, lex, listed, members] = receipts.as_slice() else {
        panic!("four gates")
    };

    let files = ["Z/nested.txt", "checks.jsonl", "index.json", "report.json"];
    assert_eq!(
        bundle.digest.as_ref().unwrap().as_str(),
        world.digest_of("g.bundle", &files)
    );
    assert_eq!(bundle.scope.as_deref(), Some("fingerprint"));
    assert_eq!(
        bundle.artifacts.len(),
        5,
        "flag, index and three more files, each once"
    );
    for artifact in &bundle.artifacts {
        let bytes = world.read(&artifact.path);
        assert_eq!(artifact.bytes, bytes.len() as u64);
        assert_eq!(artifact.sha256.as_ref().unwrap().as_str(), sha256(bytes));
    }
    assert!(
        bundle
            .bound_items
            .iter()
            .all(|item| item.by_gate_digest && !item.by_item_digest)
    );

    let by_item: Vec<_> = lex
        .bound_items
        .iter()
        .map(|item| item.by_item_digest)
        .collect();
    assert_eq!(by_item, [true, false]);

    assert_eq!(listed.bound_items.len(), 2);
    assert_eq!(
        listed.unbound_items[0].path,
        in_bundle("g.listed", "index.json")
    );
    assert_eq!(listed.unbound_items[0].reason, UnboundReason::NoDigest);

    assert!(
        members
            .bound_items
            .iter()
            .all(|item| !item.by_gate_digest && item.by_item_digest)
    );
    assert_eq!(
        members.unbound_items[0].path,
        in_bundle("g.members", "rows/seed=7")
    );
    assert_eq!(members.unbound_items[0].reason, UnboundReason::NotOneObject);
}

#[tokio::test]
async fn a_clearance_remembers_the_bytes_that_were_verified() {
    let world = World::whole();
    let key = in_bundle("g.lex", "report.json");
    let clearance = world.clear(&["out.lex"]).await.unwrap();
    let verified = clearance.artifact(&key).unwrap();
    let pin = world.store().head(&key).await.unwrap();
    assert_eq!((verified.bytes, &verified.etag), (pin.size, &pin.etag));

    world.remove(&key);
    world.write(&key, "another file");
    assert_ne!(world.store().head(&key).await.unwrap().etag, verified.etag);
}

#[tokio::test]
async fn a_part_that_a_gate_hashed_is_read_under_the_pin_of_that_hash_only() {
    let mut world = World::whole();
    let hashed = in_bundle("g.bundle", "checks.jsonl");
    world.catalogue = world.catalogue.replace("data/b/", &hashed);
    let (store, output) = (world.store(), OutputId::new("out.bundle"));
    let catalogue = Catalogue::parse(world.catalogue.as_bytes()).unwrap();
    let entry = catalogue.output(&output).unwrap();
    let clearance = world.clear(&["out.bundle"]).await.unwrap();
    let grant = clearance.grant(&output).unwrap();
    let located = locate(&store, entry, &tokens()).await.unwrap();
    open_rows(grant, &located.parts[0], &ReadOptions::default()).unwrap();

    let bytes = world.read(&hashed);
    world.remove(&hashed);
    world.write("apart", "keeps the inode from being used again");
    world.write(&hashed, bytes);
    let replaced = locate(&store, entry, &tokens()).await.unwrap();
    let error = open_rows(grant, &replaced.parts[0], &ReadOptions::default()).unwrap_err();
    assert_eq!(error.code(), oracle_store::ReasonCode::OracleReadFailed);
    assert!(error.to_string().contains("changed"), "{error}");
}

#[tokio::test]
async fn a_failed_receipt_has_code_object_and_both_digests() {
    let world = World::whole();
    let expected = world.digest_of("g.lex", &["Z/nested.txt", "report.json"]);
    world.write(&in_bundle("g.lex", "Z/nested.txt"), "changed");
    let actual = world.digest_of("g.lex", &["Z/nested.txt", "report.json"]);
    let receipts = world.receipts(&["out.lex"], Digest).await;
    receipts.iter().for_each(assert_valid);
    let failure = receipts[1].failure.as_ref().unwrap();
    assert_eq!(failure.code, "GATE_DIGEST_MISMATCH");
    assert_eq!(failure.expected_digest.as_ref().unwrap().as_str(), expected);
    assert_eq!(failure.actual_digest.as_ref().unwrap().as_str(), actual);
    assert!(
        failure
            .object
            .as_ref()
            .unwrap()
            .ends_with(&in_bundle("g.lex", "_passed.flag"))
    );
}

#[tokio::test]
async fn inspection_lists_every_fault_and_never_stops_at_the_first() {
    let mut world = World::whole();
    world.remove(&in_bundle("g.bundle", "_passed.flag"));
    world.write(&in_bundle("g.lex", "_passed.flag"), "no digest");
    world.gate_map = world
        .gate_map
        .replace("[g.listed, g.bundle]", "[g.listed, g.gone]");
    let receipts = world
        .receipts(&["out.unknown", "out.members"], Digest)
        .await;
    receipts.iter().for_each(assert_valid);
    let codes: Vec<_> = receipts
        .iter()
        .map(|r| {
            (
                r.gate_id.as_str(),
                r.failure.as_ref().map_or("PASS", |f| f.code.as_str()),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("g.none", "GATE_UNKNOWN"),
            ("g.bundle", "GATE_PASS_MISSING"),
            ("g.lex", "GATE_FLAG_INVALID"),
            ("g.listed", "PASS"),
            ("g.gone", "GATE_UNKNOWN"),
            ("g.members", "PASS"),
        ]
    );
}

#[test]
fn a_receipt_that_contradicts_itself_is_not_valid() {
    let schema: serde_json::Value = serde_yaml::from_str(GATE_RECEIPT_SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let whole = serde_json::json!({
        "version": "v1", "gate_id": "g", "status": "PASS", "mode": "digest",
        "engine_run_root": "w", "gate_map_digest": "a".repeat(64), "digest": "b".repeat(64),
        "method": {"kind": "k", "ordering": "o", "digest_field": "d"},
        "artifacts": [], "bound_items": [], "unbound_items": [],
        "bytes_hashed": 0, "duration_ms": 0,
    });
    assert!(validator.is_valid(&whole));
    for (field, wrong) in [
        ("status", serde_json::json!("FAIL")),
        ("digest", serde_json::Value::Null),
        ("digest", serde_json::json!("B".repeat(64))),
        ("mode", serde_json::json!("presence")),
        (
            "failure",
            serde_json::json!({"code": "GATE_UNKNOWN", "detail": "d"}),
        ),
        ("surplus", serde_json::json!(1)),
        (
            "bound_items",
            serde_json::json!([{"path": "p", "by_gate_digest": false, "by_item_digest": false}]),
        ),
    ] {
        let mut receipt = whole.clone();
        receipt[field] = wrong;
        assert!(!validator.is_valid(&receipt), "{field}: {receipt}");
    }
}

/// Wakes the thread that waits for a future.
struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_clearance_is_made_without_a_runtime_whatever_the_size_of_evidence() {
    let world = World::whole();
    world.write(&in_bundle("g.bundle", "checks.jsonl"), vec![b' '; 3 << 20]);
    world.flag_bundle();
    let mut clearing = std::pin::pin!(world.clear(&["out.bundle"]));
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let clearance = loop {
        match clearing.as_mut().poll(&mut context) {
            std::task::Poll::Ready(clearance) => break clearance.unwrap(),
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert_eq!(clearance.status(), ClearanceStatus::Cleared);
}

#[test]
fn a_clearance_can_be_made_on_any_task() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let world = World::whole();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(assert_send(async move { world.clear(&ALL).await.unwrap() }));
}

#[tokio::test]
async fn a_world_in_object_storage_gives_the_same_receipts() {
    let world = World::whole();
    let bucket = Arc::new(InMemory::new());
    for entry in world.store().list_under("").await.unwrap() {
        let path = ObjectPath::parse(format!("runs/1/{}", entry.path)).unwrap();
        bucket
            .put(&path, world.read(&entry.path).into())
            .await
            .unwrap();
    }
    let root = resolve_engine_run_root("s3://worlds/runs/1", None, Path::new("/")).unwrap();
    let store = WorldStore::with_object_store(root, bucket, RetryPolicy::default());
    let plain = |receipts: Vec<GateReceipt>| -> Vec<_> {
        let digests = |r: GateReceipt| {
            let files = r.artifacts.into_iter().map(|a| (a.path, a.bytes, a.sha256));
            (
                r.gate_id,
                r.digest.unwrap(),
                files.collect::<Vec<_>>(),
                r.bound_items,
                r.unbound_items,
            )
        };
        receipts.into_iter().map(digests).collect()
    };
    let remote = world.receipts_of(store, &ALL, Digest).await;
    remote.iter().for_each(assert_valid);
    assert_eq!(plain(remote), plain(world.receipts(&ALL, Digest).await));
}

#[cfg(unix)]
#[tokio::test]
async fn a_symlink_within_the_world_is_followed() {
    let world = World::whole();
    let key = in_bundle("g.lex", "report.json");
    std::fs::rename(world.path(&key), world.path("data/elsewhere.json")).unwrap();
    std::os::unix::fs::symlink(world.path("data/elsewhere.json"), world.path(&key)).unwrap();
    world.clear(&["out.lex"]).await.unwrap();
}

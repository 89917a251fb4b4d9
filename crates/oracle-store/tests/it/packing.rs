//! The packer: order, idempotence, crashes and refusals.

use chrono::{TimeZone, Utc};
use oracle_store::{
    ContentsIndex, PackAction, PackExpectation, PackOutcome, PackReport, PackRequest, Posture,
    ReasonCode, SealStatus, check_pack, pack,
};

use crate::evidence::{facts, manifest_json, seal_json};
use crate::world::*;

const FILES: [&str; 3] = [
    "_oracle_pack_contents.json",
    "_oracle_pack_manifest.json",
    "_SEALED.json",
];

fn request() -> PackRequest {
    PackRequest {
        facts: facts(),
        seal_status: SealStatus::SealedOk,
        with_contents: true,
        dry_run: false,
        now: Utc.with_ymd_and_hms(2026, 1, 28, 15, 20, 0).unwrap().into(),
    }
}

fn later() -> PackRequest {
    PackRequest {
        now: Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap().into(),
        ..request()
    }
}

fn actions(report: &PackReport) -> Vec<PackAction> {
    report.files.iter().map(|file| file.action).collect()
}

async fn keys(world: &TestWorld) -> Vec<String> {
    world
        .store
        .list_under("")
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.path)
        .collect()
}

async fn code(world: &TestWorld, request: &PackRequest) -> ReasonCode {
    let before = world.store.list_under("").await.unwrap();
    let error = pack(&world.store, request).await.unwrap_err();
    assert_eq!(
        world.store.list_under("").await.unwrap(),
        before,
        "a refusal writes nothing"
    );
    error.code()
}

#[tokio::test]
async fn a_packed_world_holds_in_strict_posture_and_lists_every_object() {
    on_each_backend(&small_world(), async |backend, world| {
        let report = pack(&world.store, &request()).await.unwrap();
        assert_eq!(report.outcome, PackOutcome::Packed, "{backend}");
        assert_eq!(actions(&report), [PackAction::Written; 3]);
        let names: Vec<_> = report.files.iter().map(|file| file.name.clone()).collect();
        assert_eq!(names, FILES.map(|key| world.store.full_name(key)));
        assert_eq!(report.objects, small_world().len() as u64);

        let facts = facts();
        let expected = PackExpectation {
            posture: Posture::Strict,
            world_key: &facts.world_key,
            catalogue_digest: &facts.catalogue_digest,
            gate_map_digest: &facts.gate_map_digest,
            oracle_pack_id: Some(&report.oracle_pack_id),
        };
        check_pack(&world.store, &expected).await.unwrap();
        let index = ContentsIndex::load(&world.store, &report.oracle_pack_id)
            .await
            .unwrap();
        let mut listed: Vec<_> = small_world().into_iter().map(|(key, _)| key).collect();
        listed.sort();
        assert_eq!(
            index
                .objects()
                .map(|entry| entry.path.clone())
                .collect::<Vec<_>>(),
            listed
        );
        assert_eq!(
            keys(&world).await.len(),
            small_world().len() + 3,
            "no staging file is left"
        );
    })
    .await;
}

#[tokio::test]
async fn packing_again_with_the_same_facts_changes_nothing() {
    on_each_backend(&small_world(), async |backend, world| {
        pack(&world.store, &request()).await.unwrap();
        let before = world.store.list_under("").await.unwrap();
        let report = pack(&world.store, &later()).await.unwrap();
        assert_eq!(report.outcome, PackOutcome::AlreadySealed, "{backend}");
        assert_eq!(world.store.list_under("").await.unwrap(), before);
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_the_files_is_completed_by_a_rerun() {
    on_each_backend(&small_world(), async |backend, world| {
        pack(&world.store, &request()).await.unwrap();
        for lost in [&FILES[2..], &FILES[1..], &FILES[..]] {
            for key in lost {
                world.remove(key).await;
            }
            let report = pack(&world.store, &later()).await.unwrap();
            assert_eq!(report.outcome, PackOutcome::Packed, "{backend}");
            let written = actions(&report)
                .iter()
                .filter(|a| **a == PackAction::Written)
                .count();
            assert_eq!(written, lost.len(), "{backend}: {lost:?}");
            assert_eq!(keys(&world).await.len(), small_world().len() + 3);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_crash_leaves_of_an_unnamed_file_is_no_content() {
    let world = TestWorld::on_disk(&small_world()).await;
    world.put("._oracle_pack_staging_1", "{\"vers").await;
    let report = pack(&world.store, &request()).await.unwrap();
    assert_eq!(report.objects, small_world().len() as u64);
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_write_and_writes_nothing() {
    on_each_backend(&small_world(), async |_, world| {
        let dry_run = PackRequest {
            dry_run: true,
            ..request()
        };
        let report = pack(&world.store, &dry_run).await.unwrap();
        assert_eq!(report.outcome, PackOutcome::DryRun);
        assert_eq!(actions(&report), [PackAction::WouldWrite; 3]);
        assert_eq!(report.objects, small_world().len() as u64);
        assert_eq!(keys(&world).await.len(), small_world().len());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["outcome"], "dry_run");
        assert_eq!(json["files"][0]["action"], "would_write");
    })
    .await;
}

#[tokio::test]
async fn other_facts_than_those_packed_with_are_refused() {
    let world = TestWorld::on_disk(&small_world()).await;
    pack(&world.store, &request()).await.unwrap();
    let mut other = request();
    other.facts.engine_release = "engine-2".to_owned();
    assert_eq!(code(&world, &other).await, ReasonCode::PackManifestMismatch);
    let failed = PackRequest {
        seal_status: SealStatus::SealedFailed,
        ..request()
    };
    assert_eq!(code(&world, &failed).await, ReasonCode::PackSealMismatch);

    world.remove("_SEALED.json").await;
    assert_eq!(
        code(&world, &other).await,
        ReasonCode::PackManifestMismatch,
        "unsealed too"
    );
    let mut seal = seal_json();
    seal["oracle_pack_id"] = "d".repeat(64).into();
    world.put("_SEALED.json", seal.to_string()).await;
    assert_eq!(code(&world, &request()).await, ReasonCode::PackSealMismatch);
    world.remove("_oracle_pack_manifest.json").await;
    assert_eq!(
        code(&world, &request()).await,
        ReasonCode::PackManifestMissing
    );
}

#[tokio::test]
async fn facts_of_another_run_are_refused() {
    let world = TestWorld::on_disk(&small_world()).await;
    let mut other = request();
    other.facts.world_key.seed += 1;
    assert_eq!(code(&world, &other).await, ReasonCode::WorldKeyMismatch);
    world.remove("run_receipt.json").await;
    assert_eq!(
        code(&world, &request()).await,
        ReasonCode::RunReceiptUnreadable
    );
}

#[tokio::test]
async fn a_sealed_pack_gets_nothing_more() {
    let world = TestWorld::on_disk(&small_world()).await;
    world
        .put("_oracle_pack_manifest.json", manifest_json().to_string())
        .await;
    world.put("_SEALED.flag", "").await;
    let before = keys(&world).await;
    let report = pack(&world.store, &request()).await.unwrap();
    assert_eq!(report.outcome, PackOutcome::AlreadySealed);
    assert_eq!(
        keys(&world).await,
        before,
        "neither contents nor a second seal"
    );
}

#[tokio::test]
async fn an_unsealed_pack_whose_contents_changed_is_refused() {
    on_each_backend(&small_world(), async |_, world| {
        pack(&world.store, &request()).await.unwrap();
        world.remove("_SEALED.json").await;
        world
            .put(&format!("{LINES}/a.jsonl"), json_lines(1..6))
            .await;
        assert_eq!(
            code(&world, &later()).await,
            ReasonCode::PackContentsMismatch
        );
    })
    .await;
}

#[tokio::test]
async fn a_failed_world_is_sealed_as_such_and_refused_by_readers() {
    let world = TestWorld::on_disk(&small_world()).await;
    let failed = PackRequest {
        seal_status: SealStatus::SealedFailed,
        with_contents: false,
        ..request()
    };
    let report = pack(&world.store, &failed).await.unwrap();
    assert_eq!(
        actions(&report),
        [PackAction::Written; 2],
        "without the contents index"
    );
    let facts = facts();
    let expected = PackExpectation {
        posture: Posture::Local,
        world_key: &facts.world_key,
        catalogue_digest: &facts.catalogue_digest,
        gate_map_digest: &facts.gate_map_digest,
        oracle_pack_id: None,
    };
    let error = check_pack(&world.store, &expected).await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::PackSealedFailed);
}

#[tokio::test]
async fn two_packers_at_once_agree() {
    let world = TestWorld::on_disk(&small_world()).await;
    let (one, two) = (request(), later());
    let (first, second) = futures::join!(pack(&world.store, &one), pack(&world.store, &two));
    assert_eq!(
        first.unwrap().oracle_pack_id,
        second.unwrap().oracle_pack_id
    );
    assert_eq!(keys(&world).await.len(), small_world().len() + 3);
}

#[tokio::test]
async fn a_root_that_cannot_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let world = TestWorld::on_disk(&small_world()).await;
    let allow = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(world.folder(), mode).unwrap();
    };
    allow(0o555);
    if std::fs::write(world.folder().join("probe"), "").is_ok() {
        std::fs::remove_file(world.folder().join("probe")).unwrap();
        allow(0o755);
        return; // Root may write anywhere.
    }
    let error = pack(&world.store, &request()).await.unwrap_err();
    allow(0o755);
    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
    assert!(
        error.to_string().contains("_oracle_pack_contents.json"),
        "{error}"
    );
}

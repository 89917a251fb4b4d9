//! Data verification against the contents index.

use oracle_store::{
    ContentsIndex, DataPlaces, DataVerification, Hex64, PackRequest, ReasonCode, SealStatus, pack,
};
use serde_json::json;

use crate::evidence::facts;
use crate::world::*;

async fn packed(world: &TestWorld) -> ContentsIndex {
    let request = PackRequest {
        facts: facts(),
        seal_status: SealStatus::SealedOk,
        with_contents: true,
        dry_run: false,
        now: std::time::SystemTime::now(),
    };
    let report = pack(&world.store, &request).await.unwrap();
    ContentsIndex::load(&world.store, &report.oracle_pack_id)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_unchanged_pack_verifies_whole() {
    on_each_backend(&small_world(), async |backend, world| {
        let index = packed(&world).await;
        let bytes: u64 = small_world()
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum();
        for (level, hashed) in [
            (DataVerification::Size, 0),
            (DataVerification::Sha256, bytes),
        ] {
            let report = index.verify_world(&world.store, level).await.unwrap();
            assert!(report.faults.is_empty(), "{backend}: {:?}", report.faults);
            assert_eq!(report.objects, small_world().len() as u64);
            assert_eq!(report.bytes_hashed, hashed);
        }
        let flows = world.locate("flows").await;
        index.check_parts(&world.store, &flows).unwrap();
        for part in &flows.parts {
            let sha256 = DataVerification::Sha256;
            let hashed = index.verify_part(&world.store, part, sha256).await.unwrap();
            assert_eq!(hashed, part.pin().size);
        }
    })
    .await;
}

#[tokio::test]
async fn every_flipped_byte_of_every_object_is_found() {
    let world = TestWorld::on_disk(&small_world()).await;
    let index = packed(&world).await;
    let (mut tried, mut found) = (0, 0);
    for (key, bytes) in small_world() {
        for at in (0..bytes.len()).step_by(97) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            world.put(&key, flipped).await;
            let report = index
                .verify_world(&world.store, DataVerification::Sha256)
                .await
                .unwrap();
            let codes: Vec<_> = report
                .faults
                .iter()
                .map(oracle_store::Error::code)
                .collect();
            tried += 1;
            found += usize::from(codes == [ReasonCode::DataMismatch]);
        }
        world.put(&key, bytes).await;
    }
    assert!(tried > 100, "{tried}");
    assert_eq!(found, tried);
}

#[tokio::test]
async fn verification_lists_every_fault_and_not_only_the_first() {
    on_each_backend(&small_world(), async |backend, world| {
        let index = packed(&world).await;
        world
            .put(&format!("{FLOWS}/part-000000.parquet"), "short")
            .await;
        world.remove(&format!("{FLOWS}/part-000001.parquet")).await;
        world
            .put(&format!("{FLOWS}/part-000002.parquet"), "new")
            .await;
        let report = index
            .verify_world(&world.store, DataVerification::Size)
            .await
            .unwrap();
        let codes: Vec<_> = report
            .faults
            .iter()
            .map(oracle_store::Error::code)
            .collect();
        let expected = [
            ReasonCode::DataMismatch,
            ReasonCode::DataMismatch,
            ReasonCode::PackContentsMismatch,
        ];
        assert_eq!(codes, expected, "{backend}");
        for fault in &report.faults {
            assert!(
                fault.to_string().contains(&world.store.full_name(FLOWS)),
                "{fault}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_part_that_is_gone_or_not_listed_is_found_before_it_is_read() {
    on_each_backend(&small_world(), async |_, world| {
        let index = packed(&world).await;
        world.remove(&format!("{FLOWS}/part-000001.parquet")).await;
        let flows = world.locate("flows").await;
        let gone = index.check_parts(&world.store, &flows).unwrap_err();
        assert_eq!(gone.code(), ReasonCode::DataMismatch);

        world.put(&format!("{LINES}/c.jsonl"), "{}").await;
        let lines = world.locate("lines").await;
        let new = index.check_parts(&world.store, &lines).unwrap_err();
        assert_eq!(new.code(), ReasonCode::PackContentsMismatch);
        let size = DataVerification::Size;
        let new = index
            .verify_part(&world.store, &lines.parts[2], size)
            .await
            .unwrap_err();
        assert_eq!(new.code(), ReasonCode::PackContentsMismatch);
    })
    .await;
}

#[tokio::test]
async fn a_part_of_another_length_or_other_bytes_is_a_data_mismatch() {
    let world = TestWorld::on_disk(&small_world()).await;
    let index = packed(&world).await;
    let key = format!("{LINES}/a.jsonl");
    world.put(&key, json_lines(10..15).split_off(0)).await;
    let part = world.locate("lines").await.parts[0].clone();
    let verify = async |level| {
        index
            .verify_part(&world.store, &part, level)
            .await
            .map_err(|error| error.code())
    };
    assert_eq!(verify(DataVerification::None).await, Ok(0));
    assert_eq!(
        verify(DataVerification::Size).await,
        Err(ReasonCode::DataMismatch)
    );

    let mut same_length = json_lines(0..5);
    same_length[7] ^= 1;
    world.put(&key, same_length).await;
    let part = world.locate("lines").await.parts[0].clone();
    let verify = async |level| {
        index
            .verify_part(&world.store, &part, level)
            .await
            .map_err(|error| error.code())
    };
    assert_eq!(verify(DataVerification::Size).await, Ok(0));
    assert_eq!(
        verify(DataVerification::Sha256).await,
        Err(ReasonCode::DataMismatch)
    );
}

#[tokio::test]
async fn records_are_verified_without_touching_rows() {
    let world = TestWorld::on_disk(&small_world()).await;
    let index = packed(&world).await;
    world.put(&format!("{LINES}/a.jsonl"), "changed").await;
    let data = DataPlaces::of(&catalogue(), &tokens());
    let report = index
        .verify_records(&world.store, &data, DataVerification::Sha256)
        .await;
    assert!(
        report.faults.is_empty() && report.objects == 1,
        "{report:?}"
    );
    world
        .put(
            "run_receipt.json",
            receipt_json().to_string().replace("09:00", "10:00"),
        )
        .await;
    let report = index
        .verify_records(&world.store, &data, DataVerification::Sha256)
        .await;
    assert_eq!(report.faults[0].code(), ReasonCode::DataMismatch);
}

#[tokio::test]
async fn an_index_that_is_missing_malformed_or_of_another_pack_has_its_own_code() {
    let world = TestWorld::on_disk(&[]).await;
    let pack_id = facts().pack_id();
    let code = async || {
        let error = ContentsIndex::load(&world.store, &pack_id)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("_oracle_pack_contents.json"),
            "{error}"
        );
        error.code()
    };
    assert_eq!(code().await, ReasonCode::PackContentsMissing);
    let entry = json!({"path": "a", "bytes": 1, "sha256": "0".repeat(64)});
    let with = |objects| json!({"version": "v0", "oracle_pack_id": pack_id, "objects": objects});
    let mut later = with(json!([]));
    later["version"] = json!("v1");
    let mut extra = with(json!([]));
    extra["more"] = json!(1);
    for invalid in [
        json!([]),
        json!(["v0", pack_id, []]),
        with(json!([["a", 1, "0".repeat(64)]])),
        with(json!([
            {"path": "a", "bytes": u64::MAX, "sha256": "0".repeat(64)},
            {"path": "b", "bytes": 1, "sha256": "0".repeat(64)},
        ])),
        later,
        extra,
        with(json!([entry, entry])),
        with(json!([{"path": "a", "bytes": -1, "sha256": "0".repeat(64)}])),
        with(json!([{"path": "../a", "bytes": 1, "sha256": "0".repeat(64)}])),
        with(json!([{"path": "_SEALED.json", "bytes": 1, "sha256": "0".repeat(64)}])),
    ] {
        world
            .put("_oracle_pack_contents.json", invalid.to_string())
            .await;
        assert_eq!(code().await, ReasonCode::PackContentsInvalid, "{invalid}");
    }
    let mut other = with(json!([entry]));
    other["oracle_pack_id"] = json!(Hex64::sha256_of("other"));
    world
        .put("_oracle_pack_contents.json", other.to_string())
        .await;
    assert_eq!(code().await, ReasonCode::PackContentsMismatch);
}

//! Instance receipts of an output's parts.

use oracle_store::{Error, Hex64, InstanceProof, OutputId, ReasonCode, verify_instance_proof};
use serde_json::{Value, json};

use crate::world::*;

const RECEIPT: &str = "data/layer3/6B/receipts/instance/output_id=flows/seed=7/\
                       scenario_id=baseline v1/instance_receipt.json";

fn digest() -> Hex64 {
    let mut parts: Vec<_> = small_world()
        .into_iter()
        .filter(|(key, _)| key.starts_with(FLOWS))
        .collect();
    parts.sort();
    Hex64::sha256_of(
        parts
            .into_iter()
            .flat_map(|(_, bytes)| bytes)
            .collect::<Vec<_>>(),
    )
}

fn receipt_of(status: &str, algo: &str, hex: &str) -> Value {
    json!({"status": status, "target_digest": {"algo": algo, "hex": hex}, "made_by": "engine"})
}

async fn verify(world: &TestWorld, output_id: &str) -> Result<Option<InstanceProof>, Error> {
    let catalogue = catalogue();
    let entry = catalogue.output(&OutputId::new(output_id)).unwrap();
    let output = world.locate(output_id).await;
    verify_instance_proof(&world.store, entry, &tokens(), &output).await
}

#[tokio::test]
async fn a_receipt_holds_for_the_parts_in_name_order() {
    on_each_backend(&small_world(), async |backend, world| {
        assert_eq!(
            verify(&world, "flows").await.unwrap(),
            None,
            "no receipt stands"
        );
        let receipt = receipt_of("PASS", "sha256", digest().as_str());
        world.put(RECEIPT, receipt.to_string()).await;
        let proof = verify(&world, "flows").await.unwrap().expect("a proof");
        assert_eq!(proof.path, RECEIPT, "{backend}");
        assert_eq!(proof.digest, digest());
        assert_eq!(proof.bytes_hashed, world.locate("flows").await.bytes());
        assert_eq!(verify(&world, "lines").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn parts_that_are_not_those_proven_are_a_mismatch() {
    let world = TestWorld::on_disk(&small_world()).await;
    world
        .put(
            RECEIPT,
            receipt_of("PASS", "sha256", digest().as_str()).to_string(),
        )
        .await;
    world.remove(&format!("{FLOWS}/part-000001.parquet")).await;
    let error = verify(&world, "flows").await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::InstanceProofMismatch);
    assert!(error.to_string().contains(RECEIPT), "{error}");
}

#[tokio::test]
async fn a_receipt_that_is_no_pass_or_no_receipt_is_invalid() {
    let world = TestWorld::on_disk(&small_world()).await;
    let hex = digest();
    let mut more = receipt_of("PASS", "sha256", hex.as_str());
    more["target_digest"]["salt"] = json!("x");
    for invalid in [
        json!("PASS"),
        json!({"status": "PASS"}),
        receipt_of("FAIL", "sha256", hex.as_str()),
        receipt_of("pass", "sha256", hex.as_str()),
        receipt_of("PASS", "sha512", hex.as_str()),
        receipt_of("PASS", "sha256", &hex.as_str().to_uppercase()),
        more,
    ] {
        world.put(RECEIPT, invalid.to_string()).await;
        let error = verify(&world, "flows").await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::InstanceProofInvalid, "{invalid}");
    }
}

//! Manifest, seal and posture: one code for each thing that may be wrong.

use oracle_store::{
    Hex64, PackEvidence, PackExpectation, PackFacts, PackId, PackManifest, PackSeal, Posture,
    ReasonCode, ScenarioId, SealKind, WorldKey, check_pack,
};
use serde_json::{Value, json};

use crate::world::*;

const MANIFEST: &str = "_oracle_pack_manifest.json";
const SEAL: &str = "_SEALED.json";

pub fn world_key() -> WorldKey {
    receipt().world_key(ScenarioId::parse(SCENARIO).unwrap())
}

pub fn facts() -> PackFacts {
    PackFacts {
        world_key: world_key(),
        engine_release: "engine-1.4.0".to_owned(),
        catalogue_digest: Hex64::sha256_of("catalogue"),
        gate_map_digest: Hex64::sha256_of("gate map"),
    }
}

pub fn manifest_json() -> Value {
    let facts = facts();
    json!({
        "version": "v0", "oracle_pack_id": facts.pack_id(), "world_key": facts.world_key,
        "engine_release": facts.engine_release, "catalogue_digest": facts.catalogue_digest,
        "gate_map_digest": facts.gate_map_digest, "created_at_utc": "2026-01-28T15:20:00+00:00",
    })
}

pub fn seal_json() -> Value {
    json!({
        "version": "v0", "oracle_pack_id": facts().pack_id(), "seal_status": "SEALED_OK",
        "sealed_at_utc": "2026-01-28T15:20:01+00:00",
    })
}

async fn check(world: &TestWorld, posture: Posture) -> Result<PackEvidence, ReasonCode> {
    let facts = facts();
    let expected = PackExpectation {
        posture,
        world_key: &facts.world_key,
        catalogue_digest: &facts.catalogue_digest,
        gate_map_digest: &facts.gate_map_digest,
        oracle_pack_id: None,
    };
    check_pack(&world.store, &expected).await.map_err(|error| {
        let text = error.to_string();
        assert!(
            text.contains(&world.store.full_name("_")),
            "names the object: {text}"
        );
        error.code()
    })
}

/// A manifest and a seal, some of their fields replaced.
async fn place(world: &TestWorld, manifest: &[(&str, Value)], seal: &[(&str, Value)]) {
    for (key, mut json, changes) in [
        (MANIFEST, manifest_json(), manifest),
        (SEAL, seal_json(), seal),
    ] {
        for (pointer, value) in changes {
            match json.pointer_mut(pointer) {
                Some(field) => *field = value.clone(),
                None => json[&pointer[1..]] = value.clone(),
            }
        }
        world.put(key, json.to_string()).await;
    }
}

#[tokio::test]
async fn a_sealed_pack_passes_in_both_postures() {
    on_each_backend(&[], async |backend, world| {
        place(&world, &[], &[]).await;
        for posture in [Posture::Local, Posture::Strict] {
            let evidence = check(&world, posture).await.unwrap();
            assert_eq!(
                evidence.oracle_pack_id,
                Some(facts().pack_id()),
                "{backend}"
            );
            assert_eq!(evidence.engine_release.as_deref(), Some("engine-1.4.0"));
            assert_eq!(evidence.seal, SealKind::Json);
            assert_eq!(evidence.facts_verified, posture == Posture::Strict);
        }
    })
    .await;
}

#[tokio::test]
async fn a_field_that_occurs_twice_in_manifest_or_seal_is_refused() {
    let world = TestWorld::on_disk(&[]).await;
    let twice = |json: Value, again: &str| {
        let text = json.to_string();
        format!("{},{again}}}", text.strip_suffix('}').unwrap())
    };
    place(&world, &[], &[]).await;
    let key = manifest_json()["world_key"].to_string();
    let world_key_twice = manifest_json().to_string().replace(
        &key,
        &format!("{},\"seed\":7}}", key.strip_suffix('}').unwrap()),
    );
    for manifest in [
        twice(manifest_json(), "\"version\":\"v0\""),
        twice(manifest_json(), "\"engine_release\":\"other\""),
        world_key_twice,
    ] {
        world.put(MANIFEST, manifest).await;
        assert_eq!(
            check(&world, Posture::Strict).await,
            Err(ReasonCode::PackManifestInvalid)
        );
    }
    place(&world, &[], &[]).await;
    let seal = twice(seal_json(), "\"seal_status\":\"SEALED_OK\"");
    world.put(SEAL, seal).await;
    assert_eq!(
        check(&world, Posture::Strict).await,
        Err(ReasonCode::PackSealInvalid)
    );
}

#[tokio::test]
async fn a_bare_world_passes_in_local_posture_only() {
    let world = TestWorld::on_disk(&[]).await;
    let evidence = check(&world, Posture::Local).await.unwrap();
    assert_eq!(
        (evidence.oracle_pack_id, evidence.seal),
        (None, SealKind::None)
    );
    assert_eq!(
        check(&world, Posture::Strict).await,
        Err(ReasonCode::PackManifestMissing)
    );

    world.put("_SEALED.flag", "").await;
    assert_eq!(
        check(&world, Posture::Local).await.unwrap().seal,
        SealKind::Flag
    );
    world.put(MANIFEST, manifest_json().to_string()).await;
    assert_eq!(
        check(&world, Posture::Local).await.unwrap().seal,
        SealKind::Flag
    );
    assert_eq!(
        check(&world, Posture::Strict).await,
        Err(ReasonCode::PackNotSealed),
        "a flag is not enough"
    );
    world.remove("_SEALED.flag").await;
    assert_eq!(
        check(&world, Posture::Strict).await,
        Err(ReasonCode::PackNotSealed)
    );
}

#[tokio::test]
async fn a_seal_whose_manifest_is_gone_is_refused_in_both_postures() {
    let world = TestWorld::on_disk(&[]).await;
    world.put(SEAL, seal_json().to_string()).await;
    for posture in [Posture::Local, Posture::Strict] {
        assert_eq!(
            check(&world, posture).await,
            Err(ReasonCode::PackManifestMissing)
        );
    }
}

#[tokio::test]
async fn each_thing_that_may_be_wrong_has_its_own_code() {
    let world = TestWorld::on_disk(&[]).await;
    let another_pack = json!("c".repeat(64));
    let of_manifest = [
        (
            "/oracle_pack_id",
            json!("XYZ"),
            ReasonCode::PackManifestInvalid,
        ),
        ("/version", json!("v1"), ReasonCode::PackManifestInvalid),
        (
            "/world_key/seed",
            json!("7"),
            ReasonCode::PackManifestInvalid,
        ),
        (
            "/world_key/scenario_id",
            json!("a/b"),
            ReasonCode::PackManifestInvalid,
        ),
        (
            "/engine_release",
            json!(""),
            ReasonCode::PackManifestInvalid,
        ),
        (
            "/created_at_utc",
            json!("yesterday"),
            ReasonCode::PackManifestInvalid,
        ),
        ("/unknown", json!(1), ReasonCode::PackManifestInvalid),
    ];
    let of_seal = [
        (
            "/oracle_pack_id",
            another_pack,
            ReasonCode::PackSealMismatch,
        ),
        ("/version", json!("v1"), ReasonCode::PackSealInvalid),
        ("/seal_status", json!("SEALED"), ReasonCode::PackSealInvalid),
        ("/sealed_at_utc", json!(""), ReasonCode::PackSealInvalid),
        ("/unknown", json!(1), ReasonCode::PackSealInvalid),
        (
            "/seal_status",
            json!("SEALED_FAILED"),
            ReasonCode::PackSealedFailed,
        ),
    ];
    for (pointer, value, code) in of_manifest {
        place(&world, &[(pointer, value)], &[]).await;
        for posture in [Posture::Local, Posture::Strict] {
            assert_eq!(check(&world, posture).await.err(), Some(code), "{pointer}");
        }
    }
    for (pointer, value, code) in of_seal {
        place(&world, &[], &[(pointer, value)]).await;
        for posture in [Posture::Local, Posture::Strict] {
            assert_eq!(check(&world, posture).await.err(), Some(code), "{pointer}");
        }
    }
}

#[tokio::test]
async fn a_pack_id_that_its_own_facts_do_not_give_is_refused_in_strict_posture() {
    let world = TestWorld::on_disk(&[]).await;
    place(&world, &[("/engine_release", json!("engine-9"))], &[]).await;
    assert_eq!(
        check(&world, Posture::Strict).await,
        Err(ReasonCode::PackIdMismatch)
    );
    assert!(check(&world, Posture::Local).await.is_ok());
}

#[tokio::test]
async fn a_manifest_of_other_facts_is_told_apart_by_fact() {
    let world = TestWorld::on_disk(&[]).await;
    place(&world, &[], &[]).await;
    let facts = facts();
    let code = async |change: &dyn Fn(&mut PackFacts), posture| {
        let mut other = facts.clone();
        change(&mut other);
        let expected = PackExpectation {
            posture,
            world_key: &other.world_key,
            catalogue_digest: &other.catalogue_digest,
            gate_map_digest: &other.gate_map_digest,
            oracle_pack_id: None,
        };
        check_pack(&world.store, &expected)
            .await
            .err()
            .map(|error| error.code())
    };
    let another = Hex64::sha256_of("another");
    let changes: [&dyn Fn(&mut PackFacts); 4] = [
        &|facts| facts.world_key.seed += 1,
        &|facts| facts.world_key.scenario_id = ScenarioId::parse("other").unwrap(),
        &|facts| facts.world_key.parameter_hash = another.clone(),
        &|facts| facts.world_key.manifest_fingerprint = another.clone(),
    ];
    for change in changes {
        for posture in [Posture::Local, Posture::Strict] {
            assert_eq!(
                code(change, posture).await,
                Some(ReasonCode::WorldKeyMismatch)
            );
        }
    }
    let catalogue = &|facts: &mut PackFacts| facts.catalogue_digest = another.clone();
    let gate_map = &|facts: &mut PackFacts| facts.gate_map_digest = another.clone();
    let strict = Posture::Strict;
    assert_eq!(
        code(catalogue, strict).await,
        Some(ReasonCode::CatalogueDigestMismatch)
    );
    assert_eq!(
        code(gate_map, strict).await,
        Some(ReasonCode::GateMapDigestMismatch)
    );
    assert_eq!(code(catalogue, Posture::Local).await, None);
    assert_eq!(code(gate_map, Posture::Local).await, None);
}

#[tokio::test]
async fn a_pack_asked_for_by_id_must_be_that_pack() {
    let world = TestWorld::on_disk(&[]).await;
    let facts = facts();
    let code = async |id: &PackId| {
        let expected = PackExpectation {
            posture: Posture::Local,
            world_key: &facts.world_key,
            catalogue_digest: &facts.catalogue_digest,
            gate_map_digest: &facts.gate_map_digest,
            oracle_pack_id: Some(id),
        };
        check_pack(&world.store, &expected)
            .await
            .err()
            .map(|error| error.code())
    };
    assert_eq!(
        code(&facts.pack_id()).await,
        Some(ReasonCode::PackManifestMissing)
    );
    place(&world, &[], &[]).await;
    assert_eq!(code(&facts.pack_id()).await, None);
    assert_eq!(
        code(&Hex64::sha256_of("x").into()).await,
        Some(ReasonCode::PackIdMismatch)
    );
}

#[test]
fn the_pack_id_is_the_sha256_of_the_facts_in_order() {
    let facts = facts();
    let text = format!(
        "{FINGERPRINT}|{PARAMETERS}|{SCENARIO}|7|engine-1.4.0|{}|{}",
        facts.catalogue_digest, facts.gate_map_digest
    );
    assert_eq!(facts.pack_id(), Hex64::sha256_of(text).into());
}

/// Each field of an object has its name: its values alone, in their order, are another reader's.
#[test]
fn evidence_that_lists_the_values_of_its_fields_is_refused() {
    let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(64));
    let world =
        json!({"manifest_fingerprint": a, "parameter_hash": b, "scenario_id": "s", "seed": 7});
    let manifest = |world: Value| json!({"version": "v0", "oracle_pack_id": c, "world_key": world, "engine_release": "e", "catalogue_digest": a, "gate_map_digest": b, "created_at_utc": "2026-01-28T15:20:00Z"});
    let parse = |manifest: Value| PackManifest::parse(manifest.to_string().as_bytes());
    assert!(parse(manifest(world.clone())).is_ok());
    for wrong in [
        manifest(json!([a, b, "s", 7])),
        json!(["v0", c, world, "e", a, b, "2026-01-28T15:20:00Z"]),
    ] {
        let error = parse(wrong).unwrap_err();
        assert_eq!(error.code(), ReasonCode::PackManifestInvalid);
    }
    let time = "2026-01-28T15:20:01Z";
    let seal = |status: Value| json!({"version": "v0", "oracle_pack_id": c, "seal_status": status, "sealed_at_utc": time});
    let parse = |seal: Value| PackSeal::parse(seal.to_string().as_bytes());
    assert!(parse(seal(json!("SEALED_OK"))).is_ok());
    for wrong in [
        seal(json!({"SEALED_OK": null})),
        json!(["v0", c, "SEALED_OK", time]),
    ] {
        assert_eq!(
            parse(wrong).unwrap_err().code(),
            ReasonCode::PackSealInvalid
        );
    }
}

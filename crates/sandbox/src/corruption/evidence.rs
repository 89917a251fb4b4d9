//! Corruptions of contracts, receipt and pack.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Corruption;
use crate::world::evidence::hash_text;
use crate::world::pack::{CONTENTS, MANIFEST, RECEIPT, SEAL, SEAL_FLAG};
use crate::{Error, World};

pub(super) const GARBAGE: &[u8] = b"\x00\xffnot what it should be: {]\n";

/// Applies the corruption if it is one of evidence; says whether it was.
pub(super) fn apply(corruption: Corruption, world: &World) -> Result<bool, Error> {
    let root = world.engine_run_root();
    let garbage = |name: &str| write(&root.join(name), GARBAGE);
    let remove = |name: &str| remove_file(&root.join(name));
    match corruption {
        Corruption::CatalogueGarbage => write(own(world, world.catalogue())?, GARBAGE)?,
        Corruption::GateMapGarbage => write(own(world, world.gate_map())?, GARBAGE)?,
        Corruption::EngineRootMissing => {
            fs::rename(root, root.with_extension("gone")).map_err(Error::io("moving", root))?;
        }
        Corruption::ReceiptMissing => remove(RECEIPT)?,
        Corruption::ReceiptGarbage => garbage(RECEIPT)?,
        Corruption::ReceiptRunIdMissing => edit(&root.join(RECEIPT), |r| drop_field(r, "run_id"))?,
        Corruption::ReceiptSeedMissing => edit(&root.join(RECEIPT), |r| drop_field(r, "seed"))?,
        Corruption::ReceiptFingerprintMalformed => edit(&root.join(RECEIPT), |receipt| {
            let upper = world.identity().manifest_fingerprint.to_uppercase();
            receipt["manifest_fingerprint"] = json!(upper);
        })?,
        _ => return apply_to_pack(corruption, world),
    }
    Ok(true)
}

fn apply_to_pack(corruption: Corruption, world: &World) -> Result<bool, Error> {
    let root = world.engine_run_root();
    let garbage = |name: &str| write(&root.join(name), GARBAGE);
    let remove = |name: &str| remove_file(&root.join(name));
    match corruption {
        Corruption::ManifestMissing => remove(MANIFEST)?,
        Corruption::PackMissing => [MANIFEST, SEAL].into_iter().try_for_each(remove)?,
        Corruption::ManifestGarbage => garbage(MANIFEST)?,
        Corruption::ManifestFieldMissing => {
            edit(&root.join(MANIFEST), |m| drop_field(m, "engine_release"))?;
        }
        Corruption::ManifestExtraField => {
            set(&root.join(MANIFEST), "note", json!("extra"))?;
        }
        Corruption::PackIdWrong => repack(root, |_| {}, |_| "5".repeat(64))?,
        Corruption::WorldKeyOther => {
            let other = world.identity().seed.wrapping_add(1) & (u64::MAX >> 1);
            repack(
                root,
                |manifest| manifest["world_key"]["seed"] = json!(other),
                pack_id,
            )?;
        }
        Corruption::CatalogueOther => {
            let other = hash_text("another catalogue");
            repack(
                root,
                |manifest| manifest["catalogue_digest"] = json!(other),
                pack_id,
            )?;
        }
        Corruption::GateMapOther => {
            let other = hash_text("another gate map");
            repack(
                root,
                |manifest| manifest["gate_map_digest"] = json!(other),
                pack_id,
            )?;
        }
        Corruption::SealMissing => remove(SEAL)?,
        Corruption::SealFlagOnly => {
            remove(SEAL)?;
            write(&root.join(SEAL_FLAG), b"")?;
        }
        Corruption::SealGarbage => garbage(SEAL)?,
        Corruption::SealExtraField => {
            set(&root.join(SEAL), "note", json!("extra"))?;
        }
        Corruption::SealStatusUnknown => {
            set(&root.join(SEAL), "seal_status", json!("SEALED_MAYBE"))?;
        }
        Corruption::SealOther => {
            set(&root.join(SEAL), "oracle_pack_id", json!("5".repeat(64)))?;
        }
        Corruption::SealFailed => {
            set(&root.join(SEAL), "seal_status", json!("SEALED_FAILED"))?;
        }
        Corruption::ContentsMissing => remove(CONTENTS)?,
        Corruption::ContentsGarbage => garbage(CONTENTS)?,
        Corruption::ContentsOther => {
            set(
                &root.join(CONTENTS),
                "oracle_pack_id",
                json!("5".repeat(64)),
            )?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A catalogue or gate map that is the world's own, and may be spoilt.
pub(super) fn own<'a>(world: &World, path: &'a Path) -> Result<&'a Path, Error> {
    if path.starts_with(world.folder().join("contracts")) {
        return Ok(path);
    }
    let what = format!(
        "{} is not the world's own; it is not corrupted",
        path.display()
    );
    Err(Error::OptionsInvalid(what))
}

pub(super) fn lacking(what: &str) -> Error {
    Error::OptionsInvalid(format!("the world does not have {what} to corrupt"))
}

fn drop_field(value: &mut Value, field: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(field);
    }
}

/// Changes the manifest's facts, gives it a pack id, and seals it again.
fn repack(
    root: &Path,
    change: impl FnOnce(&mut Value),
    id_of: impl FnOnce(&Value) -> String,
) -> Result<(), Error> {
    let mut pack_id = String::new();
    edit(&root.join(MANIFEST), |manifest| {
        change(manifest);
        pack_id = id_of(manifest);
        manifest["oracle_pack_id"] = json!(pack_id);
    })?;
    set(&root.join(SEAL), "oracle_pack_id", json!(pack_id))?;
    set(&root.join(CONTENTS), "oracle_pack_id", json!(pack_id))
}

fn pack_id(manifest: &Value) -> String {
    let key = &manifest["world_key"];
    let facts = [
        &key["manifest_fingerprint"],
        &key["parameter_hash"],
        &key["scenario_id"],
        &key["seed"],
        &manifest["engine_release"],
        &manifest["catalogue_digest"],
        &manifest["gate_map_digest"],
    ];
    let text = |fact: &Value| {
        fact.as_str()
            .map_or_else(|| fact.to_string(), str::to_owned)
    };
    hash_text(facts.map(text).join("|"))
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(Error::io("writing", path))
}

pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(Error::io("removing", path))
}

pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let mut value =
        serde_json::from_slice(&bytes).map_err(|error| Error::io("parsing", path)(error.into()))?;
    change(&mut value);
    write(path, value.to_string().as_bytes())
}

/// Edits a YAML file, which is written back as JSON: that is YAML too.
pub(super) fn edit_yaml(path: &Path, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let mut value = serde_yaml::from_slice(&bytes)
        .map_err(|error| Error::io("parsing", path)(std::io::Error::other(error)))?;
    change(&mut value);
    write(path, value.to_string().as_bytes())
}

fn set(path: &Path, field: &str, value: Value) -> Result<(), Error> {
    edit(path, |object| object[field] = value)
}

pub(super) fn edit_text(path: &Path, change: impl FnOnce(String) -> String) -> Result<(), Error> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    write(path, change(text).as_bytes())
}

pub(super) fn flip_middle_byte(path: &Path) -> Result<(), Error> {
    let mut bytes = fs::read(path).map_err(Error::io("reading", path))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(path, &bytes)
}

/// Moves a file out of the engine run root and leaves a symlink to it.
pub(super) fn link_outside(path: &Path, world: &World) -> Result<(), Error> {
    let outside = world.folder().join("outside");
    fs::create_dir_all(&outside).map_err(Error::io("making the folder", &outside))?;
    let target = outside.join(path.file_name().unwrap_or_default());
    fs::rename(path, &target).map_err(Error::io("moving", path))?;
    std::os::unix::fs::symlink(&target, path).map_err(Error::io("linking", path))
}

//! The run receipt and, for a pack, contents index, manifest and seal.

use std::path::Path;

use serde_json::json;

use super::Identity;
use super::contract::Contract;
use super::evidence::{hash_files, hash_text};
use super::options::{Pack, WorldOptions};
use crate::Error;

pub(crate) const RECEIPT: &str = "run_receipt.json";
pub(crate) const CONTENTS: &str = "_oracle_pack_contents.json";
pub(crate) const MANIFEST: &str = "_oracle_pack_manifest.json";
pub(crate) const SEAL: &str = "_SEALED.json";
pub(crate) const SEAL_FLAG: &str = "_SEALED.flag";

impl Identity {
    /// The identity of the world that these options describe; a pure function of them.
    pub(crate) fn of(options: &WorldOptions, contract: &Contract) -> Self {
        let named = |name: &str| hash_text(format!("sandbox|{name}|{}", options.seed));
        let manifest_fingerprint = named("manifest_fingerprint");
        let mut identity = Self {
            run_id: manifest_fingerprint[..32].to_owned(),
            parameter_hash: named("parameter_hash"),
            manifest_fingerprint,
            scenario_id: options.scenario_id.clone(),
            seed: options.seed,
            oracle_pack_id: None,
        };
        if options.pack != Pack::None {
            let facts = format!(
                "{}|{}|{}|{}|{}|{}|{}",
                identity.manifest_fingerprint,
                identity.parameter_hash,
                identity.scenario_id,
                identity.seed,
                options.engine_release,
                hash_text(&contract.catalogue),
                hash_text(&contract.gate_map),
            );
            identity.oracle_pack_id = Some(hash_text(facts));
        }
        identity
    }
}

pub(crate) fn write_receipt(
    root: &Path,
    options: &WorldOptions,
    identity: &Identity,
) -> Result<(), Error> {
    let receipt = json!({
        "run_id": identity.run_id,
        "manifest_fingerprint": identity.manifest_fingerprint,
        "parameter_hash": identity.parameter_hash,
        "seed": identity.seed,
        "created_utc": options.start_utc(),
        "built_by": "sandbox",
    });
    write_json(root, RECEIPT, &receipt)
}

/// Writes what makes a pack of a root that holds everything else, in the order that a
/// packer must: contents, manifest, seal.
pub(crate) fn write_pack(
    root: &Path,
    options: &WorldOptions,
    identity: &Identity,
    contract: &Contract,
) -> Result<(), Error> {
    let Some(pack_id) = &identity.oracle_pack_id else {
        return Ok(());
    };
    if options.contents_index {
        write_contents(root, pack_id)?;
    }
    let packed_at = options.start_utc() + options.span;
    let manifest = json!({
        "version": "v0",
        "oracle_pack_id": pack_id,
        "world_key": {
            "manifest_fingerprint": identity.manifest_fingerprint,
            "parameter_hash": identity.parameter_hash,
            "scenario_id": identity.scenario_id,
            "seed": identity.seed,
        },
        "engine_release": options.engine_release,
        "catalogue_digest": hash_text(&contract.catalogue),
        "gate_map_digest": hash_text(&contract.gate_map),
        "created_at_utc": packed_at,
    });
    write_json(root, MANIFEST, &manifest)?;
    match options.pack {
        Pack::None | Pack::Unsealed => Ok(()),
        Pack::SealedByFlag => {
            let path = root.join(SEAL_FLAG);
            std::fs::write(&path, b"").map_err(Error::io("writing", &path))
        }
        Pack::Sealed => {
            let seal = json!({
                "version": "v0",
                "oracle_pack_id": pack_id,
                "seal_status": "SEALED_OK",
                "sealed_at_utc": packed_at,
            });
            write_json(root, SEAL, &seal)
        }
    }
}

fn write_contents(root: &Path, pack_id: &str) -> Result<(), Error> {
    let mut objects = Vec::new();
    for path in files_under(root)? {
        let bytes = std::fs::metadata(&path)
            .map_err(Error::io("measuring", &path))?
            .len();
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        objects.push(json!({ "path": name, "bytes": bytes, "sha256": hash_files([&path])? }));
    }
    let contents = json!({ "version": "v0", "oracle_pack_id": pack_id, "objects": objects });
    write_json(root, CONTENTS, &contents)
}

/// Every file under a folder, in order of relative path.
pub(crate) fn files_under(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io("listing", &folder))? {
            let path = entry.map_err(Error::io("listing", &folder))?.path();
            if path.is_dir() {
                &mut folders
            } else {
                &mut files
            }
            .push(path);
        }
    }
    files.sort_by_key(|path| path.to_string_lossy().into_owned());
    Ok(files)
}

pub(crate) fn write_json(root: &Path, name: &str, value: &serde_json::Value) -> Result<(), Error> {
    let path = root.join(name);
    std::fs::write(&path, format!("{value}\n")).map_err(Error::io("writing", &path))
}

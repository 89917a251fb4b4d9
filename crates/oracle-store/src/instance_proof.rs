//! Instance receipts: the engine's own proof of one output's parts, where one stands.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::catalogue::CatalogueEntry;
use crate::error::{Error, ReasonCode};
use crate::json::from_json;
use crate::locator::OutputLocator;
use crate::store::WorldStore;
use crate::template::{Tokens, render};
use model::Hex64;

/// An instance receipt that the parts of its output hold to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceProof {
    /// The receipt's key.
    pub path: String,
    /// The sha256 of the parts' bytes in name order.
    pub digest: Hex64,
    /// How many bytes were hashed.
    pub bytes_hashed: u64,
}

#[derive(Deserialize)]
struct Receipt {
    status: Value,
    target_digest: TargetDigest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetDigest {
    algo: String,
    hex: Hex64,
}

/// Where the receipt of an output would stand; none for outputs outside a segment.
///
/// `data/layer{L}/{SEG}/receipts/instance/output_id={output_id}/{partitions}/` with the
/// partition tokens in catalogue order.
///
/// # Errors
/// `TEMPLATE_TOKEN_MISSING`.
fn instance_receipt_path(entry: &CatalogueEntry, tokens: &Tokens) -> Result<Option<String>, Error> {
    let template = entry.path_template.as_deref().unwrap_or_default().trim();
    let mut folders = template.split('/').skip(1);
    let (Some(layer), Some(segment)) = (folders.next(), folders.next()) else {
        return Ok(None);
    };
    if !layer.starts_with("layer") {
        return Ok(None);
    }
    let mut path = format!(
        "data/{layer}/{segment}/receipts/instance/output_id={}",
        entry.output_id
    );
    for token in &entry.partitions {
        path.push_str(&render(&format!("/{token}={{{token}}}"), tokens)?);
    }
    path.push_str("/instance_receipt.json");
    Ok(Some(path))
}

/// Verifies the receipt of an output against its located parts, if there is one.
///
/// # Errors
/// `INSTANCE_PROOF_INVALID` if the receipt is malformed or no PASS;
/// `INSTANCE_PROOF_MISMATCH` if the parts are others; `TEMPLATE_TOKEN_MISSING`,
/// `ORACLE_READ_FAILED`.
pub async fn verify_instance_proof(
    store: &WorldStore,
    entry: &CatalogueEntry,
    tokens: &Tokens,
    output: &OutputLocator,
) -> Result<Option<InstanceProof>, Error> {
    let Some(path) = instance_receipt_path(entry, tokens)? else {
        return Ok(None);
    };
    let Some(object) = store.get_if_exists(&path).await? else {
        return Ok(None);
    };
    let named = |error: Error| error.object(store.full_name(&path));
    let proven = parse(&object.bytes).map_err(named)?;
    let mut hasher = Sha256::new();
    for part in &output.parts {
        hasher = store.hash_into(hasher, part.path(), part.pin()).await?;
    }
    let digest = Hex64::of_digest(hasher.finalize().into());
    if digest != proven {
        let what = format!(
            "The parts of output {} have sha256 {digest}, and their receipt says {proven}",
            entry.output_id
        );
        return Err(named(Error::new(ReasonCode::InstanceProofMismatch, what)));
    }
    for part in &output.parts {
        store.proofs().add_hashed(part.path(), part.pin(), None);
    }
    Ok(Some(InstanceProof {
        path,
        digest,
        bytes_hashed: output.bytes(),
    }))
}

fn parse(bytes: &[u8]) -> Result<Hex64, Error> {
    let invalid = |what: String| Error::new(ReasonCode::InstanceProofInvalid, what);
    let receipt: Receipt = from_json(bytes).map_err(|source| {
        invalid(format!("The instance receipt is not understood ({source})")).because(source)
    })?;
    if receipt.status != "PASS" {
        let what = format!("The instance receipt says {}, not PASS", receipt.status);
        return Err(invalid(what).field("status"));
    }
    if receipt.target_digest.algo != "sha256" {
        let what = "The instance receipt's digest is not a sha256".to_owned();
        return Err(invalid(what).field("target_digest.algo"));
    }
    Ok(receipt.target_digest.hex)
}

//! What proves the data itself: the pack's contents index, or the engine's own
//! instance receipts. Gates hash validation bundles, not rows.
//!
//! | `data_verification` | before the first push | before a part's first row |
//! |---|---|---|
//! | `none` | | |
//! | `size` | every part listed, none gone, each of its length | |
//! | `sha256` | the same, and every object of the pack that is no data hashed, and every instance receipt that stands | the part hashed |
//!
//! Without a contents index, `sha256` is satisfied where an instance receipt stands
//! for every output (`receipt`); else both levels are `PACK_CONTENTS_MISSING`.

use std::sync::Arc;

use oracle_store::{
    Catalogue, CatalogueEntry, ContentsIndex, DataPlaces, DataVerification, OutputLocator,
    PackEvidence, Part, Posture, Tokens, WorldStore, verify_instance_proof,
};
use replay::ProvePart;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::Error;

/// How the data of a run was proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataVerified {
    /// It was not.
    None,
    /// By the lengths in the contents index.
    Size,
    /// By the digests in the contents index.
    Sha256,
    /// By the engine's instance receipts alone.
    Receipt,
}

/// The proof of a plan's data, part by part.
#[derive(Debug, Clone)]
pub struct DataEvidence {
    verified: DataVerified,
    contents: Option<Arc<ContentsIndex>>,
    store: WorldStore,
    runtime: Handle,
}

/// What data evidence is about.
#[derive(Debug)]
pub struct DataQuestion<'a> {
    /// The world.
    pub store: &'a WorldStore,
    /// Its pack, if it is one.
    pub pack: &'a PackEvidence,
    /// The values of its path templates.
    pub tokens: &'a Tokens,
    /// Tells the data of the pack from its other objects.
    pub catalogue: &'a Catalogue,
    /// The outputs to be read.
    pub outputs: &'a [(CatalogueEntry, OutputLocator)],
    /// What the profile asks for.
    pub asked: Option<DataVerification>,
    /// The posture, which decides where the profile asks for nothing.
    pub posture: Posture,
}

impl DataEvidence {
    /// Checks all that is to be checked before the first push.
    ///
    /// # Errors
    /// `PACK_CONTENTS_MISSING / _INVALID / _MISMATCH`, `DATA_MISMATCH`,
    /// `INSTANCE_PROOF_INVALID / _MISMATCH`, `ORACLE_READ_FAILED`.
    pub async fn check(question: &DataQuestion<'_>) -> Result<Self, Error> {
        let store = question.store;
        let may_need = question
            .asked
            .map_or(question.posture == Posture::Strict, |asked| {
                asked != DataVerification::None
            });
        let contents = match question.pack.oracle_pack_id.as_ref().filter(|_| may_need) {
            Some(pack) => ContentsIndex::load_if_exists(store, pack).await?,
            None => None,
        };
        let level = question
            .asked
            .unwrap_or(match (question.posture, &contents) {
                (Posture::Strict, Some(_)) => DataVerification::Size,
                _ => DataVerification::None,
            });
        let proven = match level {
            DataVerification::Sha256 => instance_proofs(question).await?,
            _ => false,
        };
        let verified = match (level, &contents) {
            (DataVerification::None, _) => DataVerified::None,
            (DataVerification::Sha256, None) if proven => DataVerified::Receipt,
            (_, None) => return Err(Error::from(ContentsIndex::missing(store))),
            (DataVerification::Size, Some(_)) => DataVerified::Size,
            (DataVerification::Sha256, Some(_)) => DataVerified::Sha256,
        };
        if let (Some(contents), true) = (&contents, verified != DataVerified::None) {
            check_contents(contents, question, level).await?;
        }
        let contents = contents.map(Arc::new);
        if let Some(contents) = &contents {
            store.proofs().add_list(Arc::clone(contents) as _);
        }
        Ok(Self {
            verified,
            contents,
            store: store.clone(),
            runtime: Handle::current(),
        })
    }

    /// How the data is proven.
    pub fn verified(&self) -> DataVerified {
        self.verified
    }

    /// Hashes a part, where that is asked for, before its first row is used. Blocks;
    /// for threads of its own.
    ///
    /// # Errors
    /// `DATA_MISMATCH`, `ORACLE_READ_FAILED`.
    pub fn verify_part(&self, part: &Part) -> Result<(), oracle_store::Error> {
        let (DataVerified::Sha256, Some(contents)) = (self.verified, &self.contents) else {
            return Ok(());
        };
        let verified = contents.verify_part(&self.store, part, DataVerification::Sha256);
        self.runtime.block_on(verified).map(drop)
    }
}

impl ProvePart for DataEvidence {
    fn prove(&self, part: &Part) -> Result<(), replay::Error> {
        Ok(self.verify_part(part)?)
    }
}

/// Every part is listed and of its length, and with `sha256` every object that is
/// no part is as it was packed.
async fn check_contents(
    contents: &ContentsIndex,
    question: &DataQuestion<'_>,
    level: DataVerification,
) -> Result<(), Error> {
    for (_, output) in question.outputs {
        contents.check_parts(question.store, output)?;
        for part in &output.parts {
            let sized = contents
                .verify_part(question.store, part, DataVerification::Size)
                .await;
            sized?;
        }
    }
    if level == DataVerification::Sha256 {
        let data = DataPlaces::of(question.catalogue, question.tokens);
        let report = contents.verify_records(question.store, &data, level).await;
        if let Some(fault) = report.faults.into_iter().next() {
            return Err(Error::from(fault));
        }
    }
    Ok(())
}

/// Verifies every instance receipt that stands; whether one stood for each output.
async fn instance_proofs(question: &DataQuestion<'_>) -> Result<bool, Error> {
    let mut all = true;
    for (entry, output) in question.outputs {
        let proof = verify_instance_proof(question.store, entry, question.tokens, output).await;
        all &= proof?.is_some();
    }
    Ok(all)
}

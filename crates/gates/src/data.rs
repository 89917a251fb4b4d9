//! What proves the data itself: the pack's contents index, or the engine's own
//! instance receipts. Gates hash validation bundles, not rows.
//!
//! | level | before a row is read | before a part's first row |
//! |---|---|---|
//! | `none` | | |
//! | `size` | every part listed, none gone, each of its length | |
//! | `sha256` | the same, and every object of the pack that is no data hashed, and every instance receipt that stands | the part hashed |
//!
//! Without a contents index, `sha256` is satisfied where an instance receipt stands
//! for every output (`receipt`); else both levels are `PACK_CONTENTS_MISSING`.

use std::sync::Arc;

use oracle_store::{
    Catalogue, ContentsIndex, DataPlaces, DataVerification, InstanceProof, OutputId, PackId, Part,
    Posture, Tokens, WorldStore, verify_instance_proof,
};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::located::LocatedOutput;

/// How the data of a world is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataVerified {
    /// Nothing proves it.
    None,
    /// Its parts have the lengths in the contents index.
    Size,
    /// Its parts have the digests in the contents index.
    Sha256,
    /// The engine's instance receipts alone prove it.
    Receipt,
    /// Rows are read from stream views, of which only their receipts speak.
    ViewReceipt,
}

/// The proof of a world's data, part by part.
#[derive(Debug, Clone)]
pub struct DataEvidence {
    verified: DataVerified,
    /// Whether every part is hashed before its first row is used.
    hashes_parts: bool,
    contents: Option<Arc<ContentsIndex>>,
    store: WorldStore,
}

impl DataEvidence {
    /// How the data is proven.
    pub fn verified(&self) -> DataVerified {
        self.verified
    }

    /// The same evidence, of rows some of which are read from stream views: what is known of an
    /// output's parts says nothing of its view.
    pub(crate) fn with_views(mut self) -> Self {
        self.verified = DataVerified::ViewReceipt;
        self
    }

    /// Hashes a part where `sha256` is asked for; call it before the part's first row is used.
    /// At any other level, and of a stream view's file, it reads nothing.
    ///
    /// # Errors
    /// `PACK_CONTENTS_MISMATCH`, `DATA_MISMATCH`, `ORACLE_READ_FAILED`.
    pub async fn verify_part(&self, part: &Part) -> Result<(), oracle_store::Error> {
        let is_hashed = self.hashes_parts && !part.is_view();
        let (true, Some(contents)) = (is_hashed, &self.contents) else {
            return Ok(());
        };
        let verified = contents.verify_part(&self.store, part, DataVerification::Sha256);
        verified.await.map(drop)
    }
}

/// What a contents index lists, and what came of hashing against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContentsFound {
    /// The length of all listed objects together.
    pub bytes: u64,
    /// How many bytes were hashed; `None` where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_hashed: Option<u64>,
    /// How many objects are listed.
    pub objects: usize,
    /// How the whole pack was compared with the list.
    pub verified: DataVerified,
}

/// How far the data is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataExtent {
    /// As far as is asked for; by the posture where nothing is.
    Asked(Option<DataVerification>),
    /// Where a contents index stands, its list is compared with the parts.
    Listed,
    /// Every object of the pack is hashed.
    WholePack,
}

/// What is asked of the data.
pub(crate) struct DataQuestion<'a> {
    pub(crate) store: &'a WorldStore,
    pub(crate) pack: Option<&'a PackId>,
    pub(crate) tokens: &'a Tokens,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) outputs: &'a [LocatedOutput],
    pub(crate) posture: Posture,
    pub(crate) extent: DataExtent,
}

/// What was found of the data.
#[derive(Default)]
pub(crate) struct DataFound {
    pub(crate) evidence: Option<DataEvidence>,
    pub(crate) contents: Option<ContentsFound>,
    pub(crate) instance_proofs: Vec<(OutputId, InstanceProof)>,
    pub(crate) refusals: Vec<Error>,
}

/// What is compared with the contents index, once it is known whether there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Nothing,
    Listed,
    Sizes,
    Digests,
    WholePack,
}

impl DataQuestion<'_> {
    /// Looks in the order in which is refused: the index, what it lists, the instance
    /// receipts, the want of an index.
    pub(crate) async fn look(&self) -> DataFound {
        let mut found = DataFound::default();
        let contents = match self.contents().await {
            Ok(contents) => contents,
            Err(refusal) => {
                found.refusals.push(refusal);
                return found;
            }
        };
        let level = self.level(contents.is_some());
        if let (Some(contents), true) = (&contents, level != Level::Nothing) {
            found = self.compare(contents, level).await;
        }
        let is_asked = matches!(self.extent, DataExtent::Asked(_));
        if is_asked && !found.refusals.is_empty() {
            return found;
        }
        let mut all_proven = false;
        if matches!(level, Level::Digests | Level::WholePack) {
            let (proofs, refusals) = self.instance_proofs().await;
            all_proven = proofs.len() == self.outputs.len();
            found.instance_proofs = proofs;
            found.refusals.extend(refusals);
        }
        let needs_index = match level {
            Level::Nothing | Level::Listed => false,
            Level::Sizes | Level::WholePack => true,
            Level::Digests => !all_proven,
        };
        let goes_on = !is_asked || found.refusals.is_empty();
        if contents.is_none() && needs_index && goes_on {
            let missing = ContentsIndex::missing(self.store);
            found.refusals.push(Error::oracle(missing));
        }
        if is_asked && found.refusals.is_empty() {
            found.evidence = Some(self.evidence(contents, level));
        }
        found
    }

    async fn contents(&self) -> Result<Option<ContentsIndex>, Error> {
        let may_need = match self.extent {
            DataExtent::Asked(Some(asked)) => asked != DataVerification::None,
            DataExtent::Asked(None) => self.posture == Posture::Strict,
            DataExtent::Listed | DataExtent::WholePack => true,
        };
        match self.pack.filter(|_| may_need) {
            Some(pack) => ContentsIndex::load_if_exists(self.store, pack)
                .await
                .map_err(Error::oracle),
            None => Ok(None),
        }
    }

    fn level(&self, has_index: bool) -> Level {
        match self.extent {
            DataExtent::Asked(Some(DataVerification::Sha256)) => Level::Digests,
            DataExtent::Asked(Some(DataVerification::Size)) => Level::Sizes,
            DataExtent::Asked(None) if has_index && self.posture == Posture::Strict => Level::Sizes,
            DataExtent::Asked(Some(DataVerification::None) | None) => Level::Nothing,
            DataExtent::Listed => Level::Listed,
            DataExtent::WholePack => Level::WholePack,
        }
    }

    /// Compares the index with the parts, and with as much more as the level asks for.
    async fn compare(&self, contents: &ContentsIndex, level: Level) -> DataFound {
        let mut summary = ContentsFound {
            bytes: contents.bytes(),
            bytes_hashed: None,
            objects: contents.objects().len(),
            verified: DataVerified::None,
        };
        let mut faults = Vec::new();
        if level == Level::WholePack {
            let whole = contents.verify_world(self.store, DataVerification::Sha256);
            match whole.await {
                Ok(report) => {
                    summary.verified = DataVerified::Sha256;
                    summary.bytes_hashed = Some(report.bytes_hashed);
                    faults = report.faults;
                }
                Err(fault) => faults.push(fault),
            }
        } else {
            faults = self.compare_parts(contents, level).await;
            // Hashing takes long; what is refused already is not hashed.
            if level == Level::Digests && faults.is_empty() {
                let data = DataPlaces::of(self.catalogue, self.tokens);
                let records = contents.verify_records(self.store, &data, DataVerification::Sha256);
                faults = records.await.faults;
            }
        }
        DataFound {
            contents: Some(summary),
            refusals: faults.into_iter().map(Error::oracle).collect(),
            ..DataFound::default()
        }
    }

    /// Every part is listed and none is gone, and where lengths are asked for, each has its own.
    async fn compare_parts(
        &self,
        contents: &ContentsIndex,
        level: Level,
    ) -> Vec<oracle_store::Error> {
        let mut faults = Vec::new();
        for LocatedOutput { locator, .. } in self.outputs {
            faults.extend(contents.check_parts(self.store, locator).err());
            if level == Level::Listed {
                continue;
            }
            for part in &locator.parts {
                let sized = contents.verify_part(self.store, part, DataVerification::Size);
                faults.extend(sized.await.err());
            }
        }
        faults
    }

    /// Verifies every instance receipt that stands.
    async fn instance_proofs(&self) -> (Vec<(OutputId, InstanceProof)>, Vec<Error>) {
        let (mut proofs, mut refusals) = (Vec::new(), Vec::new());
        for LocatedOutput { entry, locator } in self.outputs {
            let verified = verify_instance_proof(self.store, entry, self.tokens, locator);
            match verified.await {
                Ok(Some(proof)) => proofs.push((entry.output_id.clone(), proof)),
                Ok(None) => {}
                Err(fault) => refusals.push(Error::oracle(fault)),
            }
        }
        (proofs, refusals)
    }

    /// The proof of the data, once nothing was refused.
    fn evidence(&self, contents: Option<ContentsIndex>, level: Level) -> DataEvidence {
        let contents = contents.map(Arc::new);
        if let Some(contents) = &contents {
            self.store.proofs().add_list(Arc::clone(contents) as _);
        }
        let verified = match (level, &contents) {
            (Level::Digests | Level::WholePack, Some(_)) => DataVerified::Sha256,
            (Level::Digests | Level::WholePack, None) => DataVerified::Receipt,
            (Level::Sizes, _) => DataVerified::Size,
            (Level::Nothing | Level::Listed, _) => DataVerified::None,
        };
        DataEvidence {
            verified,
            hashes_parts: verified == DataVerified::Sha256,
            contents,
            store: self.store.clone(),
        }
    }
}

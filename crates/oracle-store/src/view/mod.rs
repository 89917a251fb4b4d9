//! The platform's stream views: a sorted copy of one output, checked against its source.
//!
//! ```text
//!  <base>/output_id=<id>/
//!     part-000000.parquet …            the rows, sorted by (event time, source part, source row)
//!     _stream_view_manifest.json       what it is a view of
//!     _stream_sort_receipt.json        that sorting kept every row
//! ```
//! The base is a folder of the world ([`STREAM_VIEW_BASE`]), or any place that
//! [`WorldStore::with_views_at`] puts there.
//!
//! | checked | by | refused as |
//! |---|---|---|
//! | manifest and receipt are there | their keys | `VIEW_MISSING` |
//! | each is one JSON object whose fields occur once and have their types | | `VIEW_INVALID` |
//! | `status` is `OK`, and `raw_stats` equal `sorted_stats` | receipt | `VIEW_RECEIPT_BAD` |
//! | output, scenario and world key are ours | both | `VIEW_OUTPUT_MISMATCH` |
//! | engine run root and view id are ours | both | `VIEW_ID_MISMATCH` |
//! | the source parts are those that were sorted | receipt: digest of their places | `VIEW_STALE` |
//! | no row is missing or too many | receipt, footers of view and source | `VIEW_STALE` |
//!
//! The statistics but `row_count` are opaque: they are compared with each other, never made
//! again. So nothing here proves the bytes of a view: whether it is trusted is for `gates` to
//! say, which alone extends a grant to its files. That its rows are in order is checked where
//! they are streamed, at whole microseconds.

mod record;

use model::{Hex64, OutputId, WorldKey};

use crate::error::{Error, ReasonCode};
use crate::locator::OutputLocator;
use crate::part::{Part, PartFormat, STREAM_VIEW_BASE};
use crate::rows::footer;
use crate::store::WorldStore;

use record::{Manifest, Receipt};

/// The manifest's name in a view's folder.
const MANIFEST: &str = "_stream_view_manifest.json";
/// The receipt's name in a view's folder.
const RECEIPT: &str = "_stream_sort_receipt.json";
/// Footers that are read at one time.
const FOOTERS_IN_FLIGHT: usize = 8;

/// A stream view that was found to be one of an output as it is now.
///
/// Only [`StreamView::open`] makes one. It opens no rows: that takes a grant that `gates`
/// extended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    locator: OutputLocator,
    id: Hex64,
    files: Vec<String>,
    rows: u64,
}

/// Whether an output has a stream view: whether both its manifest and its receipt exist.
///
/// # Errors
/// `OBJECT_PATH_REFUSED`, `ORACLE_READ_FAILED`.
pub async fn has_view(store: &WorldStore, output_id: &OutputId) -> Result<bool, Error> {
    let folder = StreamView::folder_of(output_id);
    Ok(store.exists(&format!("{folder}/{MANIFEST}")).await?
        && store.exists(&format!("{folder}/{RECEIPT}")).await?)
}

impl StreamView {
    /// The key of the folder that the view of an output lies in.
    pub fn folder_of(output_id: &OutputId) -> String {
        format!("{STREAM_VIEW_BASE}/output_id={output_id}")
    }

    /// Reads the view of an output and checks it against the world and the output's parts. Lists
    /// the view's folder and reads footers; no row is looked at.
    ///
    /// # Errors
    /// In this order: `VIEW_MISSING`, `VIEW_INVALID`, `VIEW_RECEIPT_BAD`,
    /// `VIEW_OUTPUT_MISMATCH`, `VIEW_ID_MISMATCH`, `VIEW_STALE`; `ORACLE_READ_FAILED` for a
    /// footer that cannot be read.
    pub async fn open(
        store: &WorldStore,
        world: &WorldKey,
        source: &OutputLocator,
    ) -> Result<Self, Error> {
        let output_id = &source.output_id;
        let folder = Self::folder_of(output_id);
        let manifest = read(store, &format!("{folder}/{MANIFEST}"), output_id).await?;
        let receipt = read(store, &format!("{folder}/{RECEIPT}"), output_id).await?;
        let manifest = Manifest::parse(&manifest)?;
        let receipt = Receipt::parse(&receipt)?;
        receipt.check_outcome()?;
        manifest.check_world(output_id, world)?;
        receipt.check_output(output_id)?;
        let root = store.root().as_str();
        let id = manifest.check_id(root, output_id, world)?;
        receipt.check_id(root, &id)?;
        receipt.check_source(&source_digest(store, source))?;
        let parts = locate(store, &folder, output_id).await?;
        let rows = receipt.row_count()?;
        for (what, parts) in [("source parts", &source.parts), ("files", &parts)] {
            let found = count_rows(store, parts).await?;
            receipt.check_rows(what, found)?;
        }
        if parts.is_empty() {
            return Err(receipt.stale("The view has no file"));
        }
        let files = parts.iter();
        let files = files.map(|part| store.platform_location(part.path()));
        Ok(Self {
            files: files.collect(),
            id,
            rows,
            locator: OutputLocator {
                output_id: output_id.clone(),
                path: format!("{folder}/"),
                format: PartFormat::Parquet,
                parts,
            },
        })
    }

    /// The view's files, in name order, each under the pin that it was located with.
    pub fn locator(&self) -> &OutputLocator {
        &self.locator
    }

    /// The view's id, as its manifest has it.
    pub fn stream_view_id(&self) -> &Hex64 {
        &self.id
    }

    /// The places of the view's files as the platform's producers spell them, in name order.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// The bytes of a view's record, with its full name.
async fn read(
    store: &WorldStore,
    key: &str,
    output_id: &OutputId,
) -> Result<(Vec<u8>, String), Error> {
    let name = store.full_name(key);
    let Some(object) = store.get_if_exists(key).await? else {
        let what = format!("The output {output_id} has no stream view here");
        return Err(Error::new(ReasonCode::ViewMissing, what).object(name));
    };
    Ok((object.bytes.to_vec(), name))
}

/// sha256 of the source parts' places, sorted, one a line.
fn source_digest(store: &WorldStore, source: &OutputLocator) -> Hex64 {
    let parts = source.parts.iter();
    let mut places: Vec<String> = parts
        .map(|part| store.platform_location(part.path()))
        .collect();
    places.sort_unstable();
    Hex64::sha256_of(places.join("\n"))
}

/// The Parquet files directly in a view's folder, in name order.
async fn locate(
    store: &WorldStore,
    folder: &str,
    output_id: &OutputId,
) -> Result<Vec<Part>, Error> {
    let listed = store.list_direct(folder).await?.into_iter();
    let files = listed.filter(|entry| PartFormat::of(&entry.path) == Some(PartFormat::Parquet));
    let files = files.map(|entry| Part::of_view(entry.path, entry.pin, output_id.clone()));
    Ok(files.collect())
}

/// The rows of some parts by their footers; `None` if one does not say it.
async fn count_rows(store: &WorldStore, parts: &[Part]) -> Result<Option<u64>, Error> {
    let mut sum = Some(0_u64);
    for some in parts.chunks(FOOTERS_IN_FLIGHT) {
        let mut counting = Vec::with_capacity(some.len());
        for part in some {
            let (of, part) = (store.clone(), part.clone());
            counting.push(store.start_work(move || footer(&of, &part)));
        }
        for counted in counting {
            let rows = counted.await??.rows;
            sum = sum.zip(rows).map(|(sum, rows)| sum.saturating_add(rows));
        }
    }
    Ok(sum)
}

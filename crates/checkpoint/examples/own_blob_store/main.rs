//! Cursors in a store of named blobs of our own: here, a table of a database.
//!
//! ```text
//! cargo run -p checkpoint --example own_blob_store
//! ```
//!
//! The blobs are in [`blobs`]; `tests/own_blob_store.rs` runs the conformance suite on them.
#![expect(
    clippy::disallowed_methods,
    reason = "a program of one's own has a runtime of its own"
)]

mod blobs;

use std::collections::BTreeMap;

use blobs::Table;
use checkpoint::{
    CheckpointStore as _, Cursor, CursorKey, Holder, KeyedBlobStore, LeaseRequest, OrderPosition,
    PackKey, RowSource,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = rusqlite::Connection::open(folder.path().join("blobs.sqlite"))?;
    let store = KeyedBlobStore::new(Table::in_database(database)?);
    let key = CursorKey::new(PackKey::of_root("runs/world"), "arrivals")?;
    let request = LeaseRequest::new([key.clone()], Holder::this_process("svc:example"));
    let lease = store.acquire(&request).await?;
    let cursor = Cursor {
        last_part: "data/part-0.parquet".to_owned(),
        last_file: "runs/w1/data/part-0.parquet".to_owned(),
        source: RowSource::Outputs,
        last_row_index: 41,
        last_ts_utc: None,
        order: OrderPosition::AsWritten,
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        plan_digest: "ab".repeat(32),
        done: None,
    };
    let cursors = BTreeMap::from([(key.clone(), cursor)]);
    store.save_many(&lease, &cursors).await?;
    store.release(&lease).await?;
    let record = store.load(&key).await?.ok_or("the cursor was saved")?;
    println!("{key} stands at row {}", record.cursor.last_row_index());
    Ok(())
}

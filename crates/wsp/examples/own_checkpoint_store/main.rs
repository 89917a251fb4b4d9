//! A stream that keeps its place in a store of our own: one journal file, a line an act.
//!
//! ```text
//! cargo run -p wsp --example own_checkpoint_store
//! ```
//!
//! The store is in [`journal`]; `tests/own_checkpoint_store.rs` runs the conformance suite of the
//! `checkpoint` crate on it.

mod journal;
#[path = "../playground/mod.rs"]
mod playground;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use checkpoint::slots::Observer;
use journal::JournalStore;
use playground::{Anything, Playground};
use wsp::push::{ClientOptions, DirectClient, PushEndpoint};
use wsp::{Bounds, Overrides, Status, Stream};

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let playground = Playground::new()?;
    let folder = tempfile::tempdir()?;
    let journal = folder.path().join("cursors.journal");
    let endpoint = PushEndpoint::parse(&playground.gate.url())?;
    // Half of the world, then the rest: the second run begins where the journal says.
    for events in [Some(2_500), None] {
        let store = JournalStore::open(journal.clone(), Observer::default())?;
        let request = playground.request(Overrides {
            bounds: Bounds {
                events,
                ..Bounds::default()
            },
            ..Overrides::default()
        })?;
        let client = DirectClient::new(&endpoint, ClientOptions::default())?;
        let report = Stream::new(request)
            .run_with(Arc::new(store), client, endpoint.as_str())
            .await?;
        assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
        let lines = BufReader::new(File::open(&journal)?).lines().count();
        println!("{} events, {lines} lines in the journal", report.emitted);
    }
    assert_eq!(playground.gate.stats().duplicates, 0);
    Ok(())
}

//! A stream that pushes through a client of our own: events are counted by their type, and
//! nothing leaves the process.
//!
//! ```text
//! cargo run -p wsp --example own_push_client
//! ```

mod playground;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use checkpoint::MemoryStore;
use playground::{Anything, Playground};
use serde::Deserialize;
use wsp::push::{Answer, PushClient, PushFault, PushLane};
use wsp::{Overrides, Status, Stream};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Makes lanes that count into one table.
#[derive(Default)]
struct CountingClient {
    counts: Counts,
}

struct CountingLane {
    counts: Counts,
}

impl PushClient for CountingClient {
    type Lane = CountingLane;

    fn lane(&self) -> CountingLane {
        CountingLane {
            counts: Arc::clone(&self.counts),
        }
    }
}

impl PushLane for CountingLane {
    async fn post(&mut self, body: Bytes) -> Result<Answer, PushFault> {
        #[derive(Deserialize)]
        struct Envelope {
            event_type: String,
        }
        let (status, answer) = match serde_json::from_slice::<Envelope>(&body) {
            Ok(envelope) => {
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(envelope.event_type).or_default() += 1;
                (200, r#"{"decision":"ADMIT"}"#)
            }
            // A final refusal: it ends the stream, or is set aside.
            Err(_) => (400, "no envelope"),
        };
        Ok(Answer::new(status, answer))
    }
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let playground = Playground::new()?;
    let client = CountingClient::default();
    let counts = Arc::clone(&client.counts);
    let request = playground.request(Overrides::default())?;
    let report = Stream::new(request)
        .run_with(Arc::new(MemoryStore::default()), client, "this process")
        .await?;
    assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    for (event_type, events) in counts.iter() {
        println!("{events:>6} {event_type}");
    }
    assert_eq!(counts.values().sum::<u64>(), report.emitted);
    Ok(())
}

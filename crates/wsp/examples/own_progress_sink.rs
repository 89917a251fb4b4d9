//! A stream whose progress goes to a sink of our own: an hour of event time in a second.
//!
//! ```text
//! cargo run -p wsp --example own_progress_sink
//! ```

mod playground;

use playground::{Anything, Playground};
use wsp::Speedup;
use wsp::{Overrides, Status, Stream};
use wsp::{Progress, ProgressSink};

/// Prints what it is told, and remembers the last.
#[derive(Default)]
struct Printer {
    last: Progress,
}

impl ProgressSink for Printer {
    fn tell(&mut self, progress: &Progress) {
        let (meters, time) = (progress.meters, progress.event_time);
        println!(
            "{:>5} acknowledged, {:>3} in flight, at {}",
            meters.acknowledged,
            meters.in_flight,
            time.map_or("the beginning".to_owned(), |time| time.to_string()),
        );
        self.last.clone_from(progress);
    }
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let playground = Playground::new()?;
    let request = playground.request(Overrides {
        pace: Some("3600".parse::<Speedup>()?.into()),
        ..Overrides::default()
    })?;
    let stream = Stream::new(request);
    let telling = stream.tell(Printer::default());
    let report = stream.run().await?;
    assert_eq!(report.status, Status::Streamed, "{:?}", report.detail);
    let printer = telling.await?;
    assert_eq!(printer.last.meters.acknowledged, report.emitted);
    Ok(())
}

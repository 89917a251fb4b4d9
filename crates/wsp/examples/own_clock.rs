//! Streams an hour at its own speed in a moment: by a clock that jumps ahead whenever
//! the stream would sleep.
//!
//! ```text
//! cargo run -p wsp --example own_clock
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a program of one's own goes by the machine's clock and threads"
)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use sandbox::{GateOptions, ProfileOptions, StandInGate, WorldOptions};
use wsp::Pace;
use wsp::clock::Clock;
use wsp::profile::Profile;
use wsp::{Overrides, Stream, StreamRequest};

/// A clock that never sleeps.
#[derive(Debug, Clone)]
struct Jumping {
    began: (Instant, SystemTime),
    /// Nanoseconds by which it has run ahead.
    ahead: Arc<AtomicU64>,
}

impl Jumping {
    fn passed(&self) -> Duration {
        self.began.0.elapsed() + Duration::from_nanos(self.ahead.load(Ordering::Acquire))
    }
}

impl Clock for Jumping {
    fn now(&self) -> Instant {
        self.began.0 + self.passed()
    }

    fn wall(&self) -> SystemTime {
        self.began.1 + self.passed()
    }

    async fn sleep(&self, delay: Duration) {
        self.park(delay);
    }

    fn park(&self, delay: Duration) {
        self.ahead
            .fetch_add(delay.as_nanos() as u64, Ordering::AcqRel);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let world = WorldOptions::sample().build(folder.path())?;
    let gate = StandInGate::start(GateOptions::default())?;
    let profile = ProfileOptions::local(&world, &gate.url()).write()?;
    let profile = Profile::load(&profile, &|_| None)?;
    let overrides = Overrides {
        pace: Some(Pace::default()),
        ..Overrides::default()
    };
    let clock = Jumping {
        began: (Instant::now(), SystemTime::now()),
        ahead: Arc::default(),
    };
    let request = StreamRequest::of_process(profile, overrides)?;
    let report = Stream::with_clock(request, clock).run().await?;
    let schedule = report.schedule.ok_or("the stream was not paced")?;
    println!(
        "{:?}: {} events, the last one due after {:.0} s, in {:.1} s",
        report.status, report.emitted, schedule.last_due_s, report.wall_seconds
    );
    Ok(())
}

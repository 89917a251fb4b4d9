//! Steers a stream from the program that runs it: pause, step, another pace, stop; and
//! watches it meanwhile.
//!
//! ```text
//! cargo run -p wsp --example steer_a_stream
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a program of one's own goes by the machine's clock and threads"
)]

use std::error::Error;
use std::time::Duration;

use sandbox::{GateOptions, ProfileOptions, StandInGate, WorldOptions};
use wsp::profile::Profile;
use wsp::{Overrides, RateSteps, Speedup, Stream, StreamRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let world = WorldOptions::sample().build(folder.path())?;
    let gate = StandInGate::start(GateOptions::default())?;
    let profile = ProfileOptions::local(&world, &gate.url()).write()?;
    let profile = Profile::load(&profile, &|_| None)?;
    let overrides = Overrides {
        pace: Some(Speedup::new(120.0).unwrap_or_default().into()),
        ..Overrides::default()
    };
    let stream = Stream::new(StreamRequest::of_process(profile, overrides)?);

    let (steering, mut progress) = (stream.steering(), stream.progress());
    let running = tokio::spawn(stream.run());
    progress
        .wait_for(|now| now.meters.acknowledged > 20)
        .await?;

    let me = "the example";
    let paused = steering.pause(me).await?;
    println!("{}: {:?}", paused.state.as_str(), paused.meters);
    // Answered once the gate has acknowledged them; `step` answers at once.
    let stepped = steering.step_until_acknowledged(5, me).await?;
    println!("five more are done: {:?}", stepped.meters);
    let resumed = steering.resume(me).await?;
    println!("{}: {}", resumed.state.as_str(), resumed.pace);
    let rate: RateSteps = "0:50,1:500".parse()?;
    let paced = steering.set_pace(rate, me).await?;
    println!("now {}", paced.pace);
    tokio::time::sleep(Duration::from_secs(2)).await;
    steering.stop(me).await?;

    let report = running.await??;
    println!("{:?} after {} events", report.status, report.emitted);
    Ok(())
}

//! An ingestion gate's question: is this an envelope, and is its id the one of its row?
//! `ig-check CATALOGUE` reads envelopes, one a line, and tells of each that is not as it should be.

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;

use envelope::{EventId, validate};
use oracle_store::{Catalogue, OutputId};

type Failure = Box<dyn std::error::Error>;

fn check(line: &[u8], catalogue: &Catalogue) -> Result<(), Failure> {
    let envelope = validate(line)?;
    let output = OutputId::new(&*envelope.event_type);
    let entry = catalogue
        .output(&output)
        .ok_or("no output of the catalogue")?;
    let world = envelope.world_key().ok_or("its world is not named whole")?;
    let payload = envelope.payload.ok_or("it has no payload")?;
    let id = EventId::of_payload(&output, &entry.primary_key, &world, payload.as_bytes())?;
    (id == envelope.event_id)
        .then_some(())
        .ok_or_else(|| format!("its id should be {id}").into())
}

fn main() -> Result<ExitCode, Failure> {
    let catalogue = std::env::args()
        .nth(1)
        .ok_or("usage: ig-check CATALOGUE <envelopes.ndjson")?;
    let catalogue = Catalogue::load(Path::new(&catalogue))?;
    let (mut good, mut bad) = (0, 0);
    for (number, line) in (1..).zip(std::io::stdin().lock().split(b'\n')) {
        match check(&line?, &catalogue) {
            Ok(()) => good += 1,
            Err(fault) => {
                bad += 1;
                println!("line {number}: {fault}");
            }
        }
    }
    println!("{good} good, {bad} bad");
    Ok(ExitCode::from(u8::from(bad > 0)))
}

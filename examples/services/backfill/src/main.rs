//! Backfill: pushes one output of a world again, and goes on where it was killed.
//!
//! `backfill raw|stream ROOT CATALOGUE GATE_MAP OUTPUT GATE STATE RUN`: `raw` reads, frames and
//! pushes by the crates for each alone, one event after the other, as the files have them; `stream`
//! has a whole stream do it, in event time and by many lanes, with cursors under a lease.

use std::path::Path;
use std::sync::Arc;

use checkpoint::FileStore;
use envelope::{FrameSpec, Framer, Pins, PlatformRunId};
use gates::{AttestRequest, AttestedWorld, GateMap, attest};
use oracle_store::{Catalogue, ObjectStoreConfig, ReadOptions, Rows, WorldStore};
use oracle_store::{open_rows, resolve_engine_run_root};
use push::{ClientOptions, ConcurrencyLimit, DirectClient, GateWatch, PushClient, PushEndpoint};
use push::{Pusher, RetryPolicy, Stop};
use wsp::profile::Producer;
use wsp::{Speedup, Stream, StreamRequest};

type Failure = Box<dyn std::error::Error>;

const PRODUCER: &str = "svc:backfill";
/// A kill repeats at most this many events (and one a lane, in `stream`).
const FLUSH_EVERY: u64 = 50;

struct Job {
    world: AttestedWorld,
    endpoint: PushEndpoint,
    client: DirectClient,
    state: std::path::PathBuf,
    run: PlatformRunId,
}

/// Reads, frames and pushes; how far it is stands in a file, `<row> <part>`.
async fn raw(job: Job) -> Result<u64, Failure> {
    let (world, place) = (&job.world, job.state.join("done"));
    let output = &world.outputs[0];
    let done = std::fs::read_to_string(&place).unwrap_or_default();
    let done = done.split_once(' ');
    let watch = GateWatch::new(RetryPolicy::default(), ConcurrencyLimit::fixed());
    let mut pusher = Pusher::new(job.client.lane(), Arc::new(watch), &Stop::new());
    let run_id = &world.receipt.run_id;
    let mut framer = Framer::new(&FrameSpec::new(
        output.id().clone(),
        output.entry.primary_key.clone(),
        Pins::for_world(&world.world_key, run_id, &job.run, PRODUCER)?,
    ))?;
    let grant = world.grant(output.id()).ok_or("it was not attested")?;
    let mut pushed = 0;
    for part in &output.locator.parts {
        let mut options = ReadOptions::default();
        match done {
            Some((_, last)) if part.path() < last => continue,
            Some((row, last)) if part.path() == last => options.from_row = row.parse::<u64>()? + 1,
            _ => {}
        }
        for batch in open_rows(grant, part, &options)? {
            let batch = batch?;
            let (path, first) = (part.path(), batch.first_row);
            let framed = match &batch.rows {
                Rows::Arrow(rows) => framer.frame(path, first, rows)?,
                Rows::JsonLines(lines) => framer.frame_json_lines(path, first, lines.iter())?,
            };
            for at in 0..framed.len() {
                pusher.push(framed.body(at)).await.into_decision()?;
                pushed += 1;
                if pushed % FLUSH_EVERY == 0 || at + 1 == framed.len() {
                    let new = place.with_extension("new");
                    std::fs::write(&new, format!("{} {path}", first + at as u64))?;
                    std::fs::rename(new, &place)?;
                }
            }
        }
    }
    Ok(pushed)
}

/// Has the whole stream do it.
async fn stream(job: Job) -> Result<u64, Failure> {
    let request = StreamRequest::builder(job.world)
        .producer(Producer::trusted(PRODUCER)?)
        .runs_root(job.state.join("runs"))
        .platform_run_id(&job.run)
        .pace(Speedup::UNPACED)
        .flush_every(FLUSH_EVERY)
        .build()?;
    let store = Arc::new(FileStore::new(job.state.join("cursors")));
    let stream = Stream::new(request);
    let report = stream
        .run_with(store, job.client, job.endpoint.as_str())
        .await?;
    Ok(report.emitted)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, root, catalogue, gate_map, output, gate, state, run] = &arguments[..] else {
        return Err(
            "usage: backfill raw|stream ROOT CATALOGUE GATE_MAP OUTPUT GATE STATE RUN".into(),
        );
    };
    let root = resolve_engine_run_root(root, None, &std::env::current_dir()?)?;
    let world = WorldStore::open(root, &ObjectStoreConfig::default())?;
    let catalogue = Arc::new(Catalogue::load(Path::new(catalogue))?);
    let gate_map = GateMap::load(Path::new(gate_map))?;
    let endpoint = PushEndpoint::parse(gate)?;
    let job = Job {
        world: attest(&AttestRequest::new(
            world,
            catalogue,
            gate_map,
            [output.as_str()],
        ))
        .await?,
        client: DirectClient::new(&endpoint, ClientOptions::default())?,
        endpoint,
        state: Path::new(state).to_owned(),
        run: run.parse()?,
    };
    let pushed = if mode == "raw" {
        raw(job).await?
    } else {
        stream(job).await?
    };
    println!("{pushed} events acknowledged");
    Ok(())
}

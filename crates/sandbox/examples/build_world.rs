//! Builds a sample world and says how long it took:
//! `cargo run --release -p sandbox --example build_world -- FOLDER ROWS PARTS OVERLAP`,
//! rows and parts counted per output; so many parts cover any moment. With `unsorted` behind it, the
//! rows of `arrival_events_5B` come in no time order.

use std::time::Instant;

use sandbox::{SampleOutput, WorldOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("FOLDER is missing")?;
    let rows: u64 = arguments.next().map_or(Ok(200_000), |rows| rows.parse())?;
    let parts: usize = arguments.next().map_or(Ok(4), |parts| parts.parse())?;
    let overlap: usize = arguments.next().map_or(Ok(1), |parts| parts.parse())?;
    let mut options = WorldOptions::sample().with_shape(parts, rows / parts as u64);
    for output in &mut options.outputs {
        output.overlap = overlap;
    }
    match arguments.next().as_deref() {
        None => {}
        Some("unsorted") => options = options.with_unsorted([SampleOutput::ArrivalEvents]),
        Some(other) => return Err(format!("`{other}` is not `unsorted`").into()),
    }
    let start = Instant::now();
    let world = options.build(folder.as_ref())?;
    println!(
        "{} rows in {:.2} s at {}",
        options.rows(),
        start.elapsed().as_secs_f64(),
        world.engine_run_root().display()
    );
    Ok(())
}

//! Rows opened through a clearance, without a stream: what the gates allow is read, and there
//! is no other way to a row.
//!
//! ```text
//! cargo run -p wsp --example rows_through_a_clearance
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "a program of one's own goes by the machine's clock and threads"
)]

mod playground;

use oracle_store::{ReadOptions, open_rows};
use playground::{Anything, Playground};
use wsp::Overrides;
use wsp::plan::{Plan, plan};

/// Counts the rows of every part of a plan. Blocks.
fn count_rows(plan: &Plan) -> Result<u64, oracle_store::Error> {
    let mut total = 0;
    for output in &plan.outputs {
        // Only the gates make a grant, and only for what they cleared.
        let Some(grant) = plan.clearance.grant(&output.locator.output_id) else {
            println!("{} was not cleared", output.id());
            continue;
        };
        let mut rows = 0;
        for part in &output.locator.parts {
            for batch in open_rows(grant, part, &ReadOptions::default())? {
                rows += batch?.rows.len() as u64;
            }
        }
        println!("{rows:>6} rows of {}", output.id());
        total += rows;
    }
    Ok(total)
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let playground = Playground::new()?;
    let request = playground.request(Overrides::default())?;
    let plan = plan(&request).await?;
    for receipt in plan.clearance.receipts() {
        println!("{} {:?}", receipt.gate_id, receipt.status);
    }
    let rows = tokio::task::spawn_blocking(move || count_rows(&plan)).await??;
    assert_eq!(rows, 5_000);
    Ok(())
}

//! Runs a stand-in gate until its standard input ends:
//! `cargo run --release -p sandbox --example stand_in_gate -- [bench] [FAULT…]`,
//! with fault rules such as `status:503,retry-after=1,p=0.01`.

use sandbox::{FaultRule, GateOptions, StandInGate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let bench = arguments.first().is_some_and(|word| word == "bench");
    let mut options = if bench {
        GateOptions::bench()
    } else {
        GateOptions::default()
    };
    let rules = arguments.split_off(usize::from(bench));
    options.faults = rules
        .iter()
        .map(|rule| rule.parse())
        .collect::<Result<Vec<FaultRule>, _>>()?;
    let gate = StandInGate::start(options)?;
    println!("{}", gate.url());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    eprintln!("{:#?}", gate.stats());
    gate.stop();
    Ok(())
}

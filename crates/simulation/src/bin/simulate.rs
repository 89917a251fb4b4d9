//! Runs seeds of the simulation: a range of them, for some minutes, or one with its trace.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{Asked, Outcome, simulate};

/// Simulates the whole streaming core, one seed after the other.
#[derive(Debug, Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Seeds to run; without it, until the time is over.
    #[arg(long)]
    seeds: Option<u64>,
    /// Minutes to run; without it, until the seeds are through.
    #[arg(long)]
    minutes: Option<f64>,
    /// Runs this one seed and prints what happened.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints what happened in each seed of the range.
    #[arg(long)]
    traces: bool,
    /// Events of each world, at most.
    #[arg(long, default_value_t = 1_000)]
    events: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let asked = |seed, keeps_trace| Asked {
        seed,
        events: arguments.events,
        keeps_trace,
    };
    if let Some(seed) = arguments.seed {
        let outcome = simulate(asked(seed, true));
        print_trace(&outcome);
        return told(&outcome);
    }
    let began = Instant::now();
    let seeds = match (arguments.seeds, arguments.minutes) {
        (None, None) => 1_000,
        (seeds, _) => seeds.unwrap_or(u64::MAX),
    };
    let minutes = arguments.minutes.unwrap_or(f64::MAX / 1e9);
    let mut sum = Sum::default();
    for seed in (arguments.first..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        if began.elapsed().as_secs_f64() > minutes * 60.0 {
            break;
        }
        let outcome = simulate(asked(seed, arguments.traces));
        print_trace(&outcome);
        if !outcome.broken.is_empty() {
            told(&outcome);
            sum.failed += 1;
        }
        sum.add(&outcome);
    }
    if !arguments.traces {
        sum.print(began.elapsed());
    }
    ExitCode::from(u8::from(sum.failed > 0))
}

fn print_trace(outcome: &Outcome) {
    let mut out = std::io::stdout().lock();
    let mut lines = outcome.trace.iter();
    // A reader that has seen enough is no fault.
    let _ = lines.try_for_each(|line| writeln!(out, "{line}"));
}

fn told(outcome: &Outcome) -> ExitCode {
    let seed = outcome.seed;
    for broken in &outcome.broken {
        println!("seed {seed}: {broken}");
    }
    if !outcome.broken.is_empty() {
        println!("seed {seed}: see it again with `simulate --seed {seed}`");
        return ExitCode::FAILURE;
    }
    println!(
        "seed {seed}: all laws held over {} events, {} lives, {} crashes, {} faults, {} steps, {:?} (digest {:016x})",
        outcome.events,
        outcome.lives,
        outcome.crashes,
        outcome.faults,
        outcome.steps,
        outcome.time,
        outcome.digest
    );
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    failed: u64,
    events: u64,
    arrivals: u64,
    lives: u64,
    crashes: u64,
    faults: u64,
    steps: u64,
    time: Duration,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.arrivals += outcome.arrivals;
        self.lives += u64::from(outcome.lives);
        self.crashes += u64::from(outcome.crashes);
        self.faults += outcome.faults;
        self.steps += outcome.steps;
        self.time += outcome.time;
    }

    fn print(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        println!(
            "{} seeds, {} failed: {:.1} simulated hours, {} events ({} arrivals), {} lives, {} crashes, \
             {} faults; {} steps, {:.0} a second; {:.0} seeds a minute",
            self.seeds,
            self.failed,
            self.time.as_secs_f64() / 3_600.0,
            self.events,
            self.arrivals,
            self.lives,
            self.crashes,
            self.faults,
            self.steps,
            self.steps as f64 / seconds,
            self.seeds as f64 / seconds * 60.0
        );
    }
}

//! The figures of `docs/benchmarks.md`: `figures <name>…`, release builds, real processes.
//!
//! | name | what it gives | about |
//! |---|---|---|
//! | `push` | events a second of the whole job beside bare posts by `wrk`, alternating, at 1, 8, 32 and 64 lanes; and the processor time of a post | 2½ min |
//! | `start` | time from starting the process to its first post | 5 s |
//! | `resume` | the same, resuming at row 0 and at row 4,900,000 of one part, alternating | 2½ min |
//! | `memory` | peak resident memory over 5 million rows | 1½ min |
//! | `wide` | the same over 20 million rows in 500 parts of 5 outputs, 64 of them overlapping; and a resume at 99 % | 5 min |
//! | `unsorted` | 4 million rows in 8 parts without any order: time to the first event, peak, what the sort cache takes; then rate, peak and a resume at 99 % | 2 min |
//! | `unsorted-50m` | the same of 50 million rows in 40 parts; 12 GiB of disk | 15 min |
//! | `scale` | time for 10 million rows over time for 1 million, and the peak of both | 2½ min |
//! | `flush` | share of throughput that `flush_every` costs | 1½ min |
//! | `pace` | lateness at send, and drift over a minute | 1½ min |
//! | `compare` | this build beside the one that `WSP_CLI_BEFORE` names: throughput, processor time, memory, first post, resume, saves, lateness | 15 min |
//!
//! Everything is built in a temporary folder and removed. Timings on a shared machine
//! are noisy: what is compared alternates in one run, and the ratio is what counts.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a tool for the terminal"
)]

mod compare;
mod process;
mod push;
mod starts;
mod steady;
mod volume;
mod world;

fn main() {
    for name in std::env::args().skip(1) {
        match name.as_str() {
            "push" => push::push(),
            "start" => starts::start(),
            "resume" => starts::resume(),
            "memory" => volume::memory(),
            "wide" => volume::wide(),
            "unsorted" => volume::unsorted(4_000_000, 8),
            "unsorted-50m" => volume::unsorted(50_000_000, 40),
            "scale" => volume::scale(),
            "flush" => steady::flush(),
            "pace" => steady::pace(),
            "compare" => compare::compare(),
            other => eprintln!("no figure is called {other}"),
        }
    }
}

//! `wsp-cli gate`.

use std::process::ExitCode;

use sandbox::{FaultRule, GateOptions, GateStats, StandInGate};

use super::complain;
use crate::args::GateArgs;
use crate::face::Face;
use crate::quantities::count;
use crate::{output, signals};

/// Runs the stand-in gate until a signal, then prints what it counted.
pub async fn run(args: GateArgs, face: Face) -> ExitCode {
    let faults: Result<Vec<FaultRule>, _> = args.fault.iter().map(|rule| rule.parse()).collect();
    let faults = match faults {
        Ok(faults) => faults,
        Err(error) => {
            complain("SANDBOX_FAULT_INVALID", &format!("--fault: {error}"));
            return ExitCode::from(2);
        }
    };
    let gate = StandInGate::start(GateOptions {
        listen: args.listen,
        validate: !args.no_validate,
        dedupe: !args.no_validate,
        keep: args.keep,
        dialect: args.dialect,
        schema_policy: args.schema_policy,
        unhealthy_after: args.unhealthy_after,
        faults,
        ..GateOptions::default()
    });
    let gate = match gate {
        Ok(gate) => gate,
        Err(error) => {
            complain(error.code().as_str(), &error.to_string());
            return ExitCode::FAILURE;
        }
    };
    output::tell(format_args!(
        "stand-in ingestion gate at {}, its counts at /metrics; Ctrl-C ends it\n",
        gate.url()
    ));
    if let Err(error) = signals::first_signal().await {
        complain("SIGNALS_UNHEARD", &error.to_string());
        return ExitCode::FAILURE;
    }
    let stats = gate.stats();
    output::print(&stats);
    if !face.is_quiet {
        output::tell(format_args!("{}", summary(&stats)));
    }
    ExitCode::SUCCESS
}

/// What the gate counted, in a few lines for people; nothing that did not occur.
fn summary(stats: &GateStats) -> String {
    let mut lines = vec![format!(
        "GATE  {} events stored, {} posts on {} connections",
        count(stats.unique),
        count(stats.posts),
        count(stats.connections)
    )];
    let faults = stats.faults_fired.iter().sum();
    let counted = [
        ("admitted", stats.admitted),
        ("known", stats.duplicates),
        ("quarantined", stats.quarantined),
        ("invalid", stats.invalid),
        ("unauthorized", stats.unauthorized),
        ("undecided", stats.undecided),
        ("unfinished", stats.unfinished),
        ("out of order", stats.order_violations),
        ("faults", faults),
    ];
    let seen = counted.into_iter().filter(|(_, number)| *number > 0);
    lines.extend(seen.map(|(name, number)| format!("  {name:<13}{}", count(number))));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_leaves_out_what_did_not_occur() {
        let mut stats = GateStats::default();
        (stats.posts, stats.unique, stats.admitted) = (1_234, 1_000, 1_000);
        (stats.connections, stats.faults_fired) = (8, vec![200, 34]);
        assert_eq!(
            summary(&stats),
            "GATE  1,000 events stored, 1,234 posts on 8 connections\n  admitted     1,000\n  faults       234\n"
        );
    }
}

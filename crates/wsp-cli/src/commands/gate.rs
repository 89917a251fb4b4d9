//! `wsp-cli gate`.

use std::process::ExitCode;

use sandbox::{FaultRule, GateOptions, StandInGate};

use super::complain;
use crate::args::GateArgs;
use crate::{output, signals};

/// Runs the stand-in gate until a signal, then prints what it counted.
pub async fn run(args: GateArgs) -> ExitCode {
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
        "stand-in ingestion gate at {}; Ctrl-C ends it\n",
        gate.url()
    ));
    if let Err(error) = signals::first_signal().await {
        complain("SIGNALS_UNHEARD", &error.to_string());
        return ExitCode::FAILURE;
    }
    output::print(&gate.stats());
    ExitCode::SUCCESS
}

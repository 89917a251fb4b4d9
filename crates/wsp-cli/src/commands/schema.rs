//! `wsp-cli schema`.

use std::process::ExitCode;

use serde_json::json;
use wsp::contracts::{CONTRACTS, contract};

use super::complain;
use crate::args::SchemaArgs;
use crate::output;

/// Prints a contract as JSON, or the names of all.
pub fn run(args: &SchemaArgs) -> ExitCode {
    let Some(name) = &args.name else {
        let listed = CONTRACTS.iter();
        let listed = listed.map(|contract| json!({"name": contract.name, "of": contract.of}));
        output::print(&json!({"contracts": listed.collect::<Vec<_>>()}));
        return ExitCode::SUCCESS;
    };
    if let Some(contract) = contract(name) {
        output::print(&contract.schema());
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = CONTRACTS.iter().map(|contract| contract.name).collect();
    let detail = format!(
        "There is no contract `{}`. Known: {}.",
        name.escape_debug(),
        names.join(", ")
    );
    complain("SCHEMA_UNKNOWN", &detail);
    output::print(&json!({"status": "FAILED", "reason": "SCHEMA_UNKNOWN", "detail": detail}));
    ExitCode::from(2)
}

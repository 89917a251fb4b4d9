//! `wsp-cli gate`.
use crate::args::GateArgs;
use std::process::ExitCode;
pub async fn run(_args: GateArgs) -> ExitCode {
    todo!()
}

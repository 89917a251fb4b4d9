//! `wsp-cli demo`.
use crate::args::DemoArgs;
use std::process::ExitCode;
pub async fn run(_args: DemoArgs) -> ExitCode {
    todo!()
}

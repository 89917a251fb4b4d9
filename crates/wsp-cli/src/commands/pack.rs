//! `wsp-cli pack`.
use crate::args::PackArgs;
use std::process::ExitCode;
pub async fn run(_args: PackArgs) -> ExitCode {
    todo!()
}

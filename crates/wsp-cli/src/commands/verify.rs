//! `wsp-cli verify`.
use crate::args::VerifyArgs;
use std::process::ExitCode;
pub async fn run(_args: VerifyArgs) -> ExitCode {
    todo!()
}

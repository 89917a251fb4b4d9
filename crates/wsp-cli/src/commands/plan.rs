//! `wsp-cli plan`.

use std::process::ExitCode;

use super::{conclude, refuse, request};
use crate::args::WorldArgs;

/// Prints what would be streamed.
pub async fn run(args: WorldArgs) -> ExitCode {
    match request(args) {
        Ok(request) => conclude(wsp::outline(&request).await),
        Err(error) => refuse(&error),
    }
}

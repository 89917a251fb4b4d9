//! `wsp-cli plan`.

use std::process::ExitCode;

use wsp::Overrides;
use wsp::clock::Surroundings;

use super::{conclude, refuse, request_with};
use crate::args::PlanArgs;

/// Prints what would be streamed.
pub async fn run(args: PlanArgs) -> ExitCode {
    let overrides = Overrides {
        order: args.order,
        ..Overrides::default()
    };
    match request_with(args.world, overrides) {
        Ok(request) => conclude(wsp::outline(&request, &Surroundings::default()).await),
        Err(error) => refuse(&error),
    }
}

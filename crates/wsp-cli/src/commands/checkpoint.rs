//! `wsp-cli checkpoint show|reset`.

use std::process::ExitCode;

use wsp::cursors;

use super::{complain, conclude, refuse, request, request_with};
use crate::args::{CheckpointArgs, CheckpointCommand, ResetArgs};

/// Shows cursors, or gives them up.
pub async fn run(args: CheckpointArgs) -> ExitCode {
    match args.command {
        CheckpointCommand::Show(world) => match request(world) {
            Ok(request) => conclude(cursors::show(&request).await),
            Err(error) => refuse(&error),
        },
        CheckpointCommand::Reset(args) => reset(args).await,
    }
}

async fn reset(args: ResetArgs) -> ExitCode {
    if !args.yes {
        complain(
            "NOT_CONFIRMED",
            "a reset streams everything again from the beginning; add --yes to do it",
        );
        return ExitCode::from(2);
    }
    let overrides = wsp::Overrides {
        take_over: args.take_over,
        ..wsp::Overrides::default()
    };
    match request_with(args.world, overrides) {
        Ok(request) => conclude(cursors::reset(&request).await),
        Err(error) => refuse(&error),
    }
}

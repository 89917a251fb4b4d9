//! `wsp-cli plan`.

use std::process::ExitCode;

use wsp::StreamRequest;
use wsp::clock::Surroundings;

use super::{refuse, request_with};
use crate::args::PlanArgs;
use crate::face::Face;
use crate::output;
use crate::plan_table::plan_table;

/// Prints what would be streamed.
pub async fn run(args: PlanArgs, face: Face) -> ExitCode {
    match request_with(args.world, args.course.overrides()) {
        Ok(request) => tell(&request, face).await,
        Err(error) => refuse(&error),
    }
}

/// Prints what a stream of the request would do: a table for people, the plan for programs.
pub async fn tell(request: &StreamRequest, face: Face) -> ExitCode {
    match wsp::outline(request, &Surroundings::default()).await {
        Ok(outline) => {
            output::print(&outline);
            // Behind the JSON, so that a terminal shows it at the end.
            if !face.is_quiet {
                output::tell(format_args!("{}", plan_table(&outline, face)));
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

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
        Ok(request) => tell(&request, args.ids, face).await,
        Err(error) => refuse(&error),
    }
}

/// Prints what a stream of the request would do: a table for people, the plan for programs.
/// With `ids`, the plan has the sums of all ids too.
pub async fn tell(request: &StreamRequest, ids: bool, face: Face) -> ExitCode {
    let surroundings = Surroundings::default();
    let outlined = if ids {
        wsp::outline_with_ids(request, &surroundings).await
    } else {
        wsp::outline(request, &surroundings).await
    };
    match outlined {
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

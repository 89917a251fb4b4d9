//! `wsp-cli report`.

use std::process::ExitCode;

use wsp::merge_reports;

use super::{complain, refuse};
use crate::args::{MergeArgs, ReportArgs, ReportCommand};
use crate::output;

/// Makes something of reports.
pub fn run(args: &ReportArgs) -> ExitCode {
    match &args.command {
        ReportCommand::Merge(args) => merge(args),
        #[cfg(feature = "console")]
        ReportCommand::Html(args) => super::report_html::run(args),
    }
}

/// Makes one report of those of all shards.
fn merge(args: &MergeArgs) -> ExitCode {
    match merge_reports(&args.against, &args.reports) {
        Ok(merged) => {
            output::print(&merged);
            match (merged.reason, &merged.detail) {
                (Some(reason), Some(detail)) => {
                    complain(reason, detail);
                    ExitCode::FAILURE
                }
                _ => ExitCode::SUCCESS,
            }
        }
        Err(error) => refuse(&error),
    }
}

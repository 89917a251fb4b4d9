//! `wsp-cli report`.

use std::process::ExitCode;

use crate::args::{ReportArgs, ReportCommand};

/// Makes something of reports.
pub fn run(args: &ReportArgs) -> ExitCode {
    match args.command {
        #[cfg(feature = "console")]
        ReportCommand::Html(ref args) => super::report_html::run(args),
    }
}

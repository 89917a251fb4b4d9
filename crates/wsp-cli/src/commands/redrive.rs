//! `wsp-cli redrive`.

use std::process::ExitCode;

use wsp::redrive::{Redrive, RedriveOptions};
use wsp::{Overrides, StreamRequest};

use super::{complain, load_profile, refuse};
use crate::args::RedriveArgs;
use crate::{output, signals};

/// Pushes the events of a quarantine file again, and prints the report.
pub async fn run(args: RedriveArgs) -> ExitCode {
    let overrides = Overrides {
        platform_run_id: args.platform_run_id,
        ig_url: args.ig_url,
        ..Overrides::default()
    };
    let request = load_profile(&args.profile)
        .and_then(|profile| StreamRequest::of_process(profile, overrides));
    let request = match request {
        Ok(request) => request,
        Err(error) => return refuse(&error),
    };
    let options = RedriveOptions {
        file: args.file,
        dry_run: args.dry_run,
        give_up: args.give_up,
    };
    let redrive = Redrive::new(request, options);
    signals::wind_down_on_signal(redrive.ending(), redrive.stop_timeout());
    let report = redrive.run().await;
    if let (1 | 2, Some(reason), Some(detail)) =
        (report.exit_status(), report.reason, &report.detail)
    {
        complain(reason, detail);
    }
    output::print(&report);
    ExitCode::from(report.exit_status())
}

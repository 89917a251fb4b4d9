//! `wsp-cli stream`.

use std::process::ExitCode;

use wsp::profile::Thresholds;
use wsp::{Overrides, Status, Stream, StreamFailure};

use super::{complain, plan, refuse, request_with};
use crate::args::StreamArgs;
use crate::face::Face;
use crate::progress_line::ProgressLine;
use crate::summary::summary;
use crate::{output, signals};

/// Streams a world, and prints the report; a summary of it too, where people watch.
pub async fn run(args: StreamArgs, face: Face) -> ExitCode {
    let overrides = Overrides {
        ig_url: args.ig_url,
        on_reject: args.on_reject,
        receipts: args.receipts,
        thresholds: Thresholds {
            fail_if: args.fail_if,
            abort_if: args.abort_if,
        },
        scenario_run_id: args.scenario_run_id,
        adopt_lanes: args.adopt_lanes,
        allow_plan_change: args.allow_plan_change,
        allow_run_change: args.allow_run_change,
        take_over: args.take_over,
        ..args.course.overrides()
    };
    let request = match request_with(args.world, overrides) {
        Ok(request) => request,
        Err(error) => return refuse(&error),
    };
    if args.dry_run {
        return plan::tell(&request, false, face).await;
    }
    #[cfg(feature = "console")]
    let report_html = args.report_html;
    let lines = match request.environment.progress_lines() {
        Ok(lines) => lines,
        Err(error) => return refuse(&error),
    };
    let stream = Stream::new(request).with_control_socket();
    signals::wind_down_on_signal(stream.ending(), stream.stop_timeout());
    let line = ProgressLine::start(stream.progress(), face, lines);
    let ran = Box::pin(stream.run()).await;
    let report = ran.unwrap_or_else(StreamFailure::into_report);
    line.finish().await;
    if let (Status::Failed, Some(reason), Some(detail)) =
        (report.status, report.reason, &report.detail)
    {
        complain(reason, detail);
    }
    output::print(&report);
    // Behind the report, where it stays on the screen.
    if face.is_watched {
        output::tell(format_args!("{}", summary(&report, face)));
    }
    #[cfg(feature = "console")]
    if let Some(out) = report_html
        && let Err(error) = super::report_html::write(&report, &out)
    {
        let detail = format!("{}: {error}", out.display());
        complain("REPORT_UNWRITABLE", &detail);
        return ExitCode::FAILURE;
    }
    ExitCode::from(report.exit_status())
}

//! `wsp-cli report html`, and `stream --report-html`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use wsp::StreamReport;

use super::complain;
use crate::args::HtmlArgs;
use crate::output;

/// Makes an HTML file of a report.
pub fn run(args: &HtmlArgs) -> ExitCode {
    let from = args.report.display();
    let json = match fs::read(&args.report) {
        Ok(json) => json,
        Err(error) => return refuse("REPORT_UNREADABLE", &format!("{from}: {error}"), 1),
    };
    let report = match StreamReport::read(&json) {
        Ok(report) => report,
        Err(error) if error.is_newer => {
            let detail = format!("{from}: {error}; use that release, or a later one");
            return refuse("REPORT_VERSION_UNSUPPORTED", &detail, 1);
        }
        Err(error) => return refuse("REPORT_DAMAGED", &format!("{from}: {error}"), 1),
    };
    let out = args.out.clone();
    let out = out.unwrap_or_else(|| args.report.with_extension("html"));
    if out == args.report {
        let detail = format!("{from} would be overwritten; name another file with --out");
        return refuse("REPORT_UNWRITABLE", &detail, 2);
    }
    match write(&report, &out) {
        Ok(bytes) => {
            output::print(&json!({"status": "WRITTEN", "file": out, "bytes": bytes}));
            ExitCode::SUCCESS
        }
        Err(error) => refuse(
            "REPORT_UNWRITABLE",
            &format!("{}: {error}", out.display()),
            1,
        ),
    }
}

/// Writes a report as an HTML file, whole or not at all, and answers how long it is.
///
/// # Errors
/// Those of the file system.
pub fn write(report: &StreamReport, out: &Path) -> io::Result<usize> {
    let html = console::report_html(report);
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut beside = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    io::Write::write_all(&mut beside, html.as_bytes())?;
    // A temporary file is its owner's alone; a report is for those whom other files are for.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let rights = fs::Permissions::from_mode(0o644);
        beside.as_file().set_permissions(rights)?;
    }
    beside.persist(out).map_err(|error| error.error)?;
    Ok(html.len())
}

fn refuse(reason: &str, detail: &str, status: u8) -> ExitCode {
    complain(reason, detail);
    output::print(&json!({"status": "FAILED", "reason": reason, "detail": detail}));
    ExitCode::from(status)
}

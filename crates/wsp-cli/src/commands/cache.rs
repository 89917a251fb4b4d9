//! `wsp-cli cache show|clear`.

use std::process::ExitCode;

use wsp::cache::{self, CacheReport};
use wsp::{Overrides, StreamRequest};

use super::{conclude, load_profile};
use crate::args::{CacheArgs, CacheCommand};
use crate::output;

/// Shows the sort cache of a profile, or clears it.
pub async fn run(args: CacheArgs) -> ExitCode {
    let (CacheCommand::Show(of) | CacheCommand::Clear(of)) = &args.command;
    let request = load_profile(&of.profile)
        .and_then(|profile| StreamRequest::of_process(profile, Overrides::default()));
    let found = match (request, &args.command) {
        (Err(error), _) => Err(error),
        (Ok(request), CacheCommand::Show(_)) => cache::show(&request).await,
        (Ok(request), CacheCommand::Clear(_)) => cache::clear(&request).await,
    };
    if let Ok(report) = &found {
        output::tell(format_args!("{}", table(report)));
    }
    conclude(found)
}

fn table(report: &CacheReport) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let mut lines = vec![format!(
        "cache    {}: {} of {} MiB",
        report.folder.display(),
        mib(report.bytes),
        mib(report.limit_bytes)
    )];
    if let Some(freed) = report.freed_bytes {
        lines.push(format!("freed    {} MiB", mib(freed)));
    }
    for part in &report.parts {
        let entry = &part.entry;
        let name = entry.part.as_deref().unwrap_or("not whole");
        let rows = entry
            .rows
            .map_or(String::new(), |rows| format!(", {rows} rows"));
        lines.push(format!("part     {name}{rows}, {} MiB", mib(entry.bytes)));
    }
    lines.join("\n") + "\n"
}

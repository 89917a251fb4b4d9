//! `wsp-cli doctor`.

use std::process::ExitCode;

use wsp::clock::Surroundings;
use wsp::doctor::{Checkup, Finding, Looked, examine};

use super::{refuse, request_with};
use crate::args::DoctorArgs;
use crate::face::{Face, Tone};
use crate::output;

/// Looks at world and gate, prints a table for people and the checkup for programs.
pub async fn run(args: DoctorArgs, face: Face) -> ExitCode {
    let overrides = wsp::Overrides {
        ig_url: args.ig_url,
        order: args.order,
        ..wsp::Overrides::default()
    };
    let push = args.push.then_some(args.events);
    let request = match request_with(args.world, overrides) {
        Ok(request) => request,
        Err(error) => return refuse(&error),
    };
    match examine(&request, &Surroundings::default(), push).await {
        Ok(checkup) => {
            output::tell(format_args!("{}", table(&checkup, face)));
            output::print(&checkup);
            ExitCode::from(u8::from(!checkup.is_healthy()))
        }
        Err(error) => refuse(&error),
    }
}

fn table(checkup: &Checkup, face: Face) -> String {
    let line = |looked: &Looked| {
        let subject = format!("{:?}", looked.subject);
        let (tone, word) = match looked.finding {
            Finding::Works => (Tone::Good, "works "),
            Finding::NotTried => (Tone::Warning, "-     "),
            Finding::Notable => (Tone::Warning, "note  "),
            Finding::Broken => (Tone::Bad, "BROKEN"),
        };
        let reason = looked
            .reason
            .map_or_else(String::new, |reason| format!("{reason}: "));
        format!(
            "{subject:<11} {} {reason}{}\n",
            face.painted(tone, word),
            looked.detail
        )
    };
    checkup.looked.iter().map(line).collect()
}

//! `wsp-cli profile`.

use std::fmt::Write as _;
use std::process::ExitCode;

use wsp::profile::{Explanation, explain};

use super::refuse;
use crate::args::{ProfileArgs, ProfileCommand};
use crate::face::{Face, Tone};
use crate::output;

/// Checks or explains a profile, without a world.
pub fn run(args: &ProfileArgs, face: Face) -> ExitCode {
    let (of, is_explained) = match &args.command {
        ProfileCommand::Check(of) => (of, false),
        ProfileCommand::Explain(of) => (of, true),
    };
    let env = |name: &str| std::env::var(name).ok();
    let explanation = match explain(&of.profile, &env) {
        Ok(explanation) => explanation,
        Err(error) => return refuse(&error),
    };
    if !face.is_quiet {
        output::tell(format_args!("{}", table(&explanation, is_explained, face)));
    }
    if is_explained {
        output::print(&explanation);
    } else {
        output::print(&explanation.without_settings());
    }
    ExitCode::SUCCESS
}

fn table(explanation: &Explanation, is_explained: bool, face: Face) -> String {
    let mut text = String::new();
    if is_explained {
        let widest = explanation.settings.iter().map(|one| one.key.len()).max();
        let width = widest.unwrap_or(0);
        for setting in &explanation.settings {
            let value = setting.value.as_deref().unwrap_or("–");
            let (key, from) = (&setting.key, &setting.from);
            let _ = writeln!(text, "  {key:width$}  {value}  ({from})");
            if let Some(why) = &setting.why {
                let _ = writeln!(text, "  {:width$}    {why}", "");
            }
        }
    }
    for variable in &explanation.unset_variables {
        let word = face.painted(Tone::Warning, "unset");
        let _ = writeln!(text, "{word}  {variable}");
    }
    for warning in &explanation.warnings {
        let word = face.painted(Tone::Warning, "warning");
        let _ = writeln!(text, "{word}  {warning}");
    }
    let word = face.painted(Tone::Good, explanation.status);
    let _ = writeln!(text, "{word}  {}", explanation.profile);
    text
}

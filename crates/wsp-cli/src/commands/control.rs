//! `wsp-cli control`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use wsp::Error;
use wsp::control::{Found, Request, find, send};
use wsp::profile::{Profile, control_root};
use wsp::replay::Act;

use super::{complain, refuse};
use crate::args::{ControlAct, ControlArgs};
use crate::output;

/// Asks a running stream, and prints its answer.
pub fn run(args: &ControlArgs) -> ExitCode {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => match runs_root(args).map(|root| only_stream(args, &root)) {
            Ok(Ok(socket)) => socket,
            Ok(Err(why)) => return failed(&why, json!({})),
            Err(error) => return refuse(&error),
        },
    };
    match send(&socket, &request(&args.act)) {
        Ok(answer) if answer["applied"] == true => {
            output::print(&answer);
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let why = answer["refused"].as_str().unwrap_or("refused").to_owned();
            failed(&why, answer)
        }
        Err(error) => failed(&format!("{}: {error}", socket.display()), json!({})),
    }
}

fn runs_root(args: &ControlArgs) -> Result<PathBuf, Error> {
    let path = args.profile.clone().unwrap_or_default();
    let env = |name: &str| std::env::var(name).ok();
    Ok(control_root(&Profile::load(&path, &env)?.runs_root))
}

/// The one stream that is meant, or why there is none or no telling.
fn only_stream(args: &ControlArgs, runs_root: &std::path::Path) -> Result<PathBuf, String> {
    let place = runs_root.display();
    let found = find(runs_root, args.platform_run_id.as_deref())
        .map_err(|error| format!("{place} cannot be looked into: {error}"))?;
    let is_meant = |stream: &&Found| args.pid.is_none_or(|pid| pid == stream.pid);
    match found.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [] => Err(format!(
            "No such stream runs under {place}. A stream can be steered from its first event on."
        )),
        [stream] => Ok(stream.socket.clone()),
        ref several => {
            let name = |stream: &&Found| {
                let Found { pid, socket, .. } = stream;
                format!("pid {pid} ({})", socket.display())
            };
            let names: Vec<_> = several.iter().map(name).collect();
            Err(format!(
                "Several streams run: {}. Name one with --pid, or --socket.",
                names.join(", ")
            ))
        }
    }
}

fn request(act: &ControlAct) -> Request {
    Request::Act(match act {
        ControlAct::Status => return Request::Status,
        ControlAct::Pause => Act::Pause,
        ControlAct::Resume => Act::Resume,
        ControlAct::Step { events } => Act::Step(*events),
        ControlAct::PauseAfter { events } => Act::PauseAfter(*events),
        ControlAct::Speedup { factor } => Act::SetPace((*factor).into()),
        ControlAct::Rate { rate } => Act::SetPace(rate.clone().into()),
        ControlAct::Stop => Act::Stop,
    })
}

fn failed(why: &str, mut answer: Value) -> ExitCode {
    complain("NOT_STEERED", why);
    answer["status"] = "FAILED".into();
    answer["detail"] = why.into();
    output::print(&answer);
    ExitCode::FAILURE
}

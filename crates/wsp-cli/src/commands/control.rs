//! `wsp-cli control`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use wsp::Error;
use wsp::control::{Found, Request, VERSION_UNSUPPORTED, ask, find, send};
use wsp::profile::{Profile, control_root};
use wsp::replay::{Act, TapSettings};

use super::{complain, refuse};
use crate::args::{ControlAct, ControlArgs};
use crate::face::Face;
use crate::output;
use crate::quantities::count;

/// Asks running streams, and prints their answers.
pub async fn run(args: &ControlArgs, face: Face) -> ExitCode {
    let found = match &args.socket {
        Some(socket) => Ok(vec![socket.clone()]),
        None => match runs_root(args) {
            Ok(root) => streams(args, &root),
            Err(error) => return refuse(&error),
        },
    };
    let sockets = match found {
        Ok(sockets) => sockets,
        Err(why) => return failed(&why, json!({})),
    };
    let request = match request(args) {
        Ok(request) => request,
        Err(why) => {
            complain("ARGUMENT_UNUSABLE", &why);
            return ExitCode::from(2);
        }
    };
    match (&sockets[..], &args.act) {
        ([socket], ControlAct::Watch { count, .. }) => follow(socket, &request, *count).await,
        ([socket], ControlAct::Tap { .. }) => follow(socket, &request, None).await,
        ([socket], _) if !args.all => steer(socket, &request, face),
        (_, ControlAct::Watch { .. } | ControlAct::Tap { .. }) => failed(
            "Of several streams one is watched, or tapped: name it.",
            json!({}),
        ),
        (sockets, _) => steer_all(sockets, &request, face),
    }
}

fn steer(socket: &Path, request: &Request, face: Face) -> ExitCode {
    match send(socket, request) {
        Ok(answer) if answer["applied"] == true => {
            tell(&answer, face);
            output::print(&answer);
            ExitCode::SUCCESS
        }
        Ok(answer) => failed(&why_refused(&answer), answer),
        Err(error) => failed(&broken(socket, &error), json!({})),
    }
}

/// Says in a line what a stream is at, where people watch.
fn tell(answer: &Value, face: Face) {
    if face.is_watched {
        output::tell(format_args!("{}\n", line(&answer["stream"])));
    }
}

/// What a stream is at, for people: state, process, how far, event time, pace.
fn line(stream: &Value) -> String {
    let state = stream["state"].as_str().unwrap_or("unknown").to_uppercase();
    let number = |field: &str| stream[field].as_u64().map(count);
    let mut parts = Vec::new();
    if let Some(done) = number("acknowledged") {
        let of = number("total").map_or(String::new(), |total| format!(" of {total}"));
        parts.push(format!("{done}{of} acknowledged"));
    }
    if let Some(in_flight) = number("in_flight") {
        parts.push(format!("{in_flight} in flight"));
    }
    if let Some(time) = stream["event_time"].as_str() {
        parts.push(format!("at {time}"));
    }
    if let Some(speedup) = stream["pace"]["speedup"].as_f64() {
        parts.push(format!("{speedup} times"));
    }
    let process = number("pid").map_or(String::new(), |_| format!("  process {}", stream["pid"]));
    format!("{state}{process}: {}", parts.join(", "))
}

/// Asks one stream after the other, whatever became of those before.
fn steer_all(sockets: &[PathBuf], request: &Request, face: Face) -> ExitCode {
    let mut refused = Vec::new();
    let mut answers = Vec::new();
    for socket in sockets {
        let mut answer = match send(socket, request) {
            Ok(answer) => {
                if answer["applied"] == true {
                    tell(&answer, face);
                } else {
                    let why = why_refused(&answer);
                    refused.push(format!("{}: {why}", socket.display()));
                }
                answer
            }
            Err(error) => {
                refused.push(broken(socket, &error));
                json!({"applied": false, "refused": error.to_string()})
            }
        };
        answer["socket"] = socket.display().to_string().into();
        answers.push(answer);
    }
    let answer = json!({"streams": answers});
    if refused.is_empty() {
        output::print(&answer);
        return ExitCode::SUCCESS;
    }
    failed(&refused.join("; "), answer)
}

/// Prints what a stream says, line by line: the answers to a watch until the stream ends or `count`
/// of them came, those to a tap until it ends.
async fn follow(socket: &Path, request: &Request, count: Option<u64>) -> ExitCode {
    let mut lines = match ask(socket, request).await {
        Ok(lines) => lines,
        Err(error) => return failed(&broken(socket, &error), json!({})),
    };
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return failed(&broken(socket, &error), json!({})),
        };
        let Ok(answer) = serde_json::from_str::<Value>(&line) else {
            return failed("the stream said what is no JSON", json!({}));
        };
        if answer["applied"] == false {
            return failed(&why_refused(&answer), answer);
        }
        output::print_line(&answer);
        printed += 1;
        if output::was_lost() || answer["tap_ended"] == true {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn runs_root(args: &ControlArgs) -> Result<PathBuf, Error> {
    let path = args.profile.clone().unwrap_or_default();
    let env = |name: &str| std::env::var(name).ok();
    Ok(control_root(&Profile::load(&path, &env)?.runs_root))
}

/// The sockets of the streams that are meant, or why there are none or no telling.
fn streams(args: &ControlArgs, runs_root: &Path) -> Result<Vec<PathBuf>, String> {
    let place = runs_root.display();
    let found = find(runs_root, args.platform_run_id.as_deref())
        .map_err(|error| format!("{place} cannot be looked into: {error}"))?;
    let is_meant = |stream: &&Found| args.pid.is_none_or(|pid| pid == stream.pid);
    match found.iter().filter(is_meant).collect::<Vec<_>>()[..] {
        [] => Err(format!(
            "No such stream runs under {place}. A stream can be steered from its first event on."
        )),
        [stream] => Ok(vec![stream.socket.clone()]),
        ref several if args.all => Ok(several.iter().map(|stream| stream.socket.clone()).collect()),
        ref several => {
            let name = |stream: &&Found| {
                let Found { pid, socket, .. } = stream;
                format!("pid {pid} ({})", socket.display())
            };
            let names: Vec<_> = several.iter().map(name).collect();
            Err(format!(
                "Several streams run: {}. Name one with --pid or --socket, or say --all.",
                names.join(", ")
            ))
        }
    }
}

fn request(args: &ControlArgs) -> Result<Request, String> {
    let act = match &args.act {
        ControlAct::Status => return Ok(Request::Status),
        ControlAct::Watch { every_ms, .. } => return Ok(Request::Watch(*every_ms)),
        ControlAct::Pause { at: None } => Act::Pause,
        ControlAct::Pause { at: Some(time) } => Act::PauseAt(*time),
        ControlAct::Resume { at: None } => Act::Resume,
        ControlAct::Resume { at: Some(time) } => Act::ResumeAt(*time),
        ControlAct::Step { events } => Act::Step(*events),
        ControlAct::PauseAfter { events } => Act::PauseAfter(*events),
        ControlAct::Speedup { factor } => Act::SetPace((*factor).into()),
        ControlAct::Rate { rate } => Act::SetPace(rate.clone().into()),
        ControlAct::Tap { events, payload } => Act::Tap(TapSettings::new(*events, *payload)?),
        ControlAct::Stop => Act::Stop,
    };
    let on_behalf_of = args.on_behalf_of.clone();
    Ok(Request::Act { act, on_behalf_of })
}

fn why_refused(answer: &Value) -> String {
    answer["refused"].as_str().unwrap_or("refused").to_owned()
}

fn broken(socket: &Path, error: &io::Error) -> String {
    format!("{}: {error}", socket.display())
}

fn failed(why: &str, mut answer: Value) -> ExitCode {
    let reason = if why.contains(VERSION_UNSUPPORTED) {
        VERSION_UNSUPPORTED
    } else {
        "NOT_STEERED"
    };
    complain(reason, why);
    answer["status"] = "FAILED".into();
    answer["reason"] = reason.into();
    answer["detail"] = why.into();
    output::print(&answer);
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known_of_a_stream() {
        let stream = json!({
            "state": "paused", "pid": 5003, "acknowledged": 1_200, "total": 2_000, "in_flight": 0,
            "event_time": "2026-01-28T08:03:09Z", "pace": {"speedup": 60.0},
        });
        assert_eq!(
            line(&stream),
            "PAUSED  process 5003: 1,200 of 2,000 acknowledged, 0 in flight, at 2026-01-28T08:03:09Z, 60 times"
        );
        assert_eq!(
            line(&json!({"state": "ending", "acknowledged": 1})),
            "ENDING: 1 acknowledged"
        );
    }
}

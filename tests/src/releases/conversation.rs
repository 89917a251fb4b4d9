//! A conversation on a control socket, line by line, without a client's code.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longer than a stream takes to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// The lines that are read of a watch, which has no end.
const OF_A_WATCH: usize = 2;

/// A request, and the answers to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The line of the client, without its line feed.
    pub request: String,
    /// The lines of the stream, without their line feeds.
    pub answers: Vec<String>,
}

impl Exchange {
    /// The request's act.
    pub fn act(&self) -> String {
        act_of(&self.request)
    }

    /// The first answer.
    ///
    /// # Panics
    /// If there is none, or it is no JSON.
    pub fn answer(&self) -> Value {
        serde_json::from_str(&self.answers[0]).expect("an answer is JSON")
    }
}

fn act_of(request: &str) -> String {
    let request: Value = serde_json::from_str(request).unwrap_or_default();
    request["act"].as_str().unwrap_or_default().to_owned()
}

/// Sends one request after the other, each on a connection of its own, and takes the answers. What
/// a tap copies is taken behind the answer to the next request, which lets the events leave.
///
/// # Panics
/// If the stream does not listen, or does not answer.
pub fn converse(socket: &Path, requests: &[String]) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::with_capacity(requests.len());
    let mut tapped = None;
    for request in requests {
        let mut lines = ask(socket, request);
        let act = act_of(request);
        let taken = if act == "watch" { OF_A_WATCH } else { 1 };
        let answers: Vec<String> = lines.by_ref().take(taken).collect();
        assert_eq!(answers.len(), taken, "no answer to {request}");
        if let Some(copies) = tapped.take() {
            let of_tap = exchanges.last_mut();
            of_tap.expect("the tap came before").answers.extend(copies);
        }
        if act == "tap" {
            tapped = Some(lines);
        }
        exchanges.push(Exchange {
            request: request.clone(),
            answers,
        });
    }
    exchanges
}

/// The lines that come of a request, until the tap or the connection ends.
fn ask(socket: &Path, request: &str) -> impl Iterator<Item = String> + use<> {
    let mut stream = UnixStream::connect(socket).expect("the stream listens");
    let timeout = stream.set_read_timeout(Some(PATIENCE));
    timeout.expect("a socket has a timeout");
    let sent = stream.write_all(format!("{request}\n").as_bytes());
    sent.expect("the stream reads");
    let mut lines = BufReader::new(stream).lines();
    let mut has_ended = false;
    std::iter::from_fn(move || {
        if has_ended {
            return None;
        }
        let line = lines.next()?.expect("a line of the stream");
        has_ended = line.contains("\"tap_ended\"");
        Some(line)
    })
}

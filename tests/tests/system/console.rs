//! The console beside real streams: metrics, health, the picture of the page, acts and who may do
//! them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

use sandbox::FaultRule;
use serde_json::{Value, json};
use system_tests::{Rig, signal};

use crate::steering::{control, rig};

pub(crate) const TOKEN: &str = "a-token-of-the-tests-0123456789";
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A console of a rig's runs root, ended when it is dropped.
pub(crate) struct Consoled {
    child: Child,
    /// Its host and port.
    pub(crate) host: String,
    _stderr: BufReader<ChildStderr>,
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Consoled {
    /// A console that may steer.
    pub(crate) fn steering(rig: &Rig) -> Self {
        Self::start(rig, &["--allow-control"])
    }

    pub(crate) fn start(rig: &Rig, more: &[&str]) -> Self {
        let listen = [&["--listen", "127.0.0.1:0"][..], more].concat();
        let mut command = rig.command(&["console"], &listen);
        command
            .env("WSP_CONSOLE_TOKEN", TOKEN)
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let url = line
            .strip_prefix("console at http://")
            .unwrap_or_else(|| panic!("{line}"));
        let host = url.split('/').next().unwrap().to_owned();
        Self {
            child,
            host,
            _stderr: stderr,
        }
    }

    fn request(&self, first: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = format!("{first} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text = text + "host: " + &self.host + "\r\n";
        }
        for (name, value) in headers {
            text = text + name + ": " + value + "\r\n";
        }
        let length = body.len().to_string();
        text = text + "content-length: " + &length + "\r\n\r\n" + body;
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn ask(&self, first: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut whole = Vec::new();
        self.request(first, headers, body)
            .read_to_end(&mut whole)
            .unwrap();
        let end = whole
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(whole[..end].to_vec()).unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: whole[end + 4..].to_vec(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "")
    }

    /// The pictures that a page gets.
    fn pictures(&self) -> impl Iterator<Item = Value> + use<> {
        let lines = BufReader::new(self.request("GET /events", &[], "")).lines();
        lines.map_while(Result::ok).filter_map(|line| {
            let data = line.strip_prefix("data: ")?;
            Some(serde_json::from_str(data).unwrap())
        })
    }

    /// The first picture that is so.
    #[track_caller]
    fn picture(&self, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let began = Instant::now();
        let mut last = Value::Null;
        for picture in self.pictures() {
            if is_so(&picture) {
                return picture;
            }
            assert!(began.elapsed() < PATIENCE, "{picture}");
            last = picture;
        }
        panic!("the console has ended: {last}");
    }

    /// The path of the acts of the one stream.
    fn acts(&self) -> String {
        let picture = self.picture(|picture| picture["streams"][0].is_object());
        let stream = &picture["streams"][0];
        let name = |field: &str| stream[field].as_str().unwrap().to_owned();
        format!("POST /api/streams/{}/{}/act", name("run"), name("stream"))
    }

    fn act(&self, path: &str, act: &Value) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ];
        self.ask(path, &headers, &act.to_string())
    }
}

impl Drop for Consoled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_documented_metric_is_there_while_a_stream_runs_in_all_three_formats() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let console = Consoled::start(&rig, &[]);
    let empty = console.get("/metrics");
    assert!(
        empty.text().contains("\nwsp_console_streams 0"),
        "{}",
        empty.text()
    );
    // A retry, so that there is something of everything.
    let busy: FaultRule = "status:503,next=5".parse().unwrap();
    rig.gate.set_faults(vec![busy]).unwrap();
    let child = rig.start_stream(&["--rate", "100"]);
    rig.wait_for_unique(60);
    console.picture(|picture| picture["streams"][0].is_object());
    let text = console.get("/metrics");
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        text.head
    );
    let samples = |name: &str| {
        let named = text.text().lines().filter(|line| line.starts_with(name));
        named.count()
    };
    for metric in wsp::metrics::ALL {
        // A rate has no speedup, and what did not end is not counted by a reason of its own.
        let may_be_absent = metric.name == wsp::metrics::SPEEDUP.name;
        assert!(
            samples(metric.name) > 0 || may_be_absent,
            "{}\n{}",
            metric.name,
            text.text()
        );
    }
    let value = |start: &str| {
        let line = text.text().lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{start}\n{}", text.text()));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(value("wsp_events_acknowledged_total{") > 0.0);
    assert!(value("wsp_send_lateness_seconds_count{") > 0.0);
    assert!(value("wsp_pace_events_per_second{") > 99.0);
    let retried = text
        .text()
        .lines()
        .find(|line| line.contains(r#"cause="http_503""#))
        .unwrap();
    assert!(!retried.ends_with(" 0"), "{retried}");
    let accepting = |accept| console.ask("GET /metrics", &[("accept", accept)], "");
    let open = accepting("application/openmetrics-text; version=1.0.0");
    assert!(
        open.head.contains("application/openmetrics-text"),
        "{}",
        open.head
    );
    assert!(open.text().ends_with("# EOF\n"));
    let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;q=0.3";
    let native = accepting(native);
    assert!(
        native.head.contains("application/vnd.google.protobuf"),
        "{}",
        native.head
    );
    let name = b"wsp_send_lateness_seconds";
    assert!(native.body.windows(name.len()).any(|bytes| bytes == name));
    signal(&child, "TERM");
    Rig::finish(child).expect(3, "STOPPED");
}

#[test]
fn the_picture_moves_the_acts_do_what_they_say_and_the_end_is_told() {
    let rig = rig(&[("policy.stream_speedup", "10")]);
    let console = Consoled::steering(&rig);
    let nothing = console.picture(|_| true);
    assert_eq!(
        (&nothing["streams"], &nothing["may_steer"]),
        (&json!([]), &json!(true))
    );
    let child = rig.start_stream(&[]);
    let path = console.acts();
    let first = console.picture(|picture| {
        picture["streams"][0]["points"]
            .as_array()
            .is_some_and(|points| !points.is_empty())
    });
    let acknowledged = first["streams"][0]["snapshot"]["acknowledged"]
        .as_u64()
        .unwrap();
    console.picture(|picture| {
        picture["streams"][0]["snapshot"]["acknowledged"].as_u64() > Some(acknowledged)
    });
    let state = |wanted: &str| {
        let wanted = wanted.to_owned();
        console
            .picture(move |picture| picture["streams"][0]["snapshot"]["state"] == wanted.as_str())
    };
    let pause = json!({"version": 1, "act": "pause", "on_behalf_of": "Ann"});
    let done = console.act(&path, &pause);
    assert_eq!(
        (done.status, &done.json()["applied"]),
        (200, &json!(true)),
        "{}",
        done.text()
    );
    state("paused");
    for act in [
        json!({"version": 1, "act": "step", "events": 3}),
        json!({"version": 1, "act": "pace", "speedup": 60.0}),
        json!({"version": 1, "act": "pause_at", "event_time": "2026-01-28T08:59:00Z"}),
        json!({"version": 1, "act": "resume"}),
    ] {
        assert_eq!(console.act(&path, &act).status, 200, "{act}");
    }
    let audit = state("running")["streams"][0]["audit"].clone();
    assert!(audit.to_string().contains("stream_steered"), "{audit}");
    let refused = console.act(&path, &json!({"version": 1, "act": "step", "events": 1}));
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("not paused"), "{}", refused.text());
    assert_eq!(
        console
            .act(&path, &json!({"version": 1, "act": "stop"}))
            .status,
        200
    );
    Rig::finish(child).expect(3, "STOPPED");
    let over = console.picture(|picture| picture["ended"][0]["reason"] == "STOPPED");
    assert_eq!(over["streams"], json!([]));
    let gone = console.act(&path, &pause);
    assert_eq!(gone.status, 404);
    let acts: Vec<Value> = rig
        .audit()
        .into_iter()
        .filter(|line| line["event_kind"] == "stream_steered")
        .map(|line| line["details"].clone())
        .collect();
    assert_eq!(acts.len(), 7, "{acts:?}");
    let named = acts[0]["on_behalf_of"].as_str().unwrap();
    assert!(named.starts_with("Ann (console, 127.0.0.1:"), "{named}");
}

#[test]
fn a_stream_under_sigkill_disappears_and_is_told_as_killed() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let console = Consoled::start(&rig, &[]);
    let mut child = rig.start_stream(&[]);
    console.picture(|picture| picture["streams"][0].is_object());
    child.kill().unwrap();
    // Its connection breaks with the process: nothing is waited for.
    console.picture(|picture| picture["streams"] == json!([]));
    child.wait().unwrap();
    console.picture(|picture| picture["ended"][0]["reason"] == "KILLED");
    let metrics = console.get("/metrics");
    let counted = r#"wsp_console_streams_ended_total{reason="KILLED"} 1"#;
    assert!(metrics.text().contains(counted), "{}", metrics.text());
    assert!(!metrics.text().contains("wsp_events_read_total{"));
}

#[test]
fn without_the_token_and_from_elsewhere_nothing_is_done_and_without_control_nobody_steers() {
    let rig = rig(&[("policy.stream_speedup", "60")]);
    let reading = Consoled::start(&rig, &[]);
    let steering = Consoled::steering(&rig);
    let child = rig.start_stream(&[]);
    let path = steering.acts();
    let pause = json!({"version": 1, "act": "pause"}).to_string();
    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {TOKEN}");
    let bearer = ("authorization", bearer.as_str());
    let own = format!("http://{}", steering.host);
    let status =
        |console: &Consoled, headers: &[(&str, &str)]| console.ask(&path, headers, &pause).status;
    assert_eq!(status(&steering, &[json]), 401);
    assert_eq!(
        status(
            &steering,
            &[json, ("authorization", "Bearer another-token-0123456789")]
        ),
        401
    );
    assert_eq!(
        status(&steering, &[("content-type", "text/plain"), bearer]),
        415
    );
    assert_eq!(
        status(
            &steering,
            &[json, bearer, ("origin", "http://evil.example")]
        ),
        403
    );
    assert_eq!(
        status(&steering, &[json, bearer, ("host", "evil.example")]),
        421
    );
    assert_eq!(status(&reading, &[json, bearer]), 403);
    for path in ["/", "/events", "/metrics", "/healthz", "/ready"] {
        let rebound = reading.ask(&format!("GET {path}"), &[("host", "evil.example:80")], "");
        assert_eq!(rebound.status, 421, "{path}");
    }
    let long = format!("{{{}}}", " ".repeat(5_000));
    assert_eq!(steering.ask(&path, &[json, bearer], &long).status, 413);
    assert_eq!(steering.ask(&path, &[json, bearer], "{}").status, 400);
    assert!(
        rig.audit()
            .iter()
            .all(|line| line["event_kind"] != "stream_steered")
    );
    assert_eq!(status(&steering, &[json, bearer, ("origin", &own)]), 200);
    assert_eq!(control(&rig, &["stop"]).status, 0);
    Rig::finish(child).expect(3, "STOPPED");
}

#[test]
fn the_page_runs_nothing_but_its_own_and_health_says_what_hinders() {
    let rig = rig(&[]);
    let console = Consoled::start(&rig, &[]);
    let page = console.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.head
            .contains("default-src 'none'; script-src 'sha256-"),
        "{}",
        page.head
    );
    for header in ["x-content-type-options: nosniff", "cache-control: no-store"] {
        assert!(page.head.contains(header), "{}", page.head);
    }
    assert!(page.text().contains("No stream runs here"));
    assert_eq!(console.get("/healthz").text(), "ok\n");
    let began = Instant::now();
    while console.get("/ready").status != 200 {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(console.get("/nowhere").status, 404);
    // A runs root that is a file cannot be looked into.
    let file = rig.folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let blind = Consoled::start(&rig, &["--runs-root", file.to_str().unwrap()]);
    let began = Instant::now();
    while blind.get("/ready").status != 503 {
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(blind.get("/ready").text().contains("a-file"));
}

#[test]
fn a_console_that_cannot_start_says_why() {
    let rig = rig(&[]);
    let console = Consoled::start(&rig, &[]);
    let taken = rig.run(&["console"], &["--listen", &console.host]);
    taken.expect(1, "CONSOLE_UNBOUND");
    let mut command = rig.command(&["console"], &["--allow-control"]);
    let missing = system_tests::Ran::of(command.env_remove("WSP_CONSOLE_TOKEN"));
    missing.expect(2, "CONSOLE_TOKEN_UNUSABLE");
    let file = rig.folder.path().join("token");
    std::fs::write(&file, "short").unwrap();
    let short = ["--allow-control", "--token-file", file.to_str().unwrap()];
    rig.run(&["console"], &short)
        .expect(2, "CONSOLE_TOKEN_UNUSABLE");
}

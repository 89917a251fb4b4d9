//! The stand-in gate's promises and each of its faults, as a raw client sees them.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use sandbox::{Fault, FaultRule, GateOptions, OrderCheck, RetryAfter, StandInGate, Token, When};
use serde_json::{Value, json};

/// What came back for one request.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn decision(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap()["decision"].clone()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A client of one connection; `None` stands for a connection that ended early.
struct Client(TcpStream);

impl Client {
    fn of(gate: &StandInGate) -> Self {
        Self::at(gate.address())
    }

    fn at(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self(stream)
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Option<Reply> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: gate\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).ok()?;
        self.read()
    }

    fn push(&mut self, envelope: &str) -> Option<Reply> {
        self.send(
            "POST",
            "/v1/ingest/push",
            "content-type: application/json\r\n",
            envelope,
        )
    }

    fn read(&mut self) -> Option<Reply> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
        let head_end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let length = self.read_some(&mut buffer)?;
            bytes.extend(&buffer[..length]);
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let mut reply = Reply {
            status: head[9..12].parse().unwrap(),
            body: String::new(),
            head,
        };
        let announced: usize = reply.header("content-length").unwrap().parse().unwrap();
        while bytes.len() < head_end + announced {
            let length = self.read_some(&mut buffer)?;
            bytes.extend(&buffer[..length]);
        }
        reply.body = String::from_utf8(bytes[head_end..].to_vec()).unwrap();
        Some(reply)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.0.read(buffer) {
            Ok(0) => None,
            Ok(length) => Some(length),
            Err(error) => {
                assert!(
                    !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "the gate neither answers nor closes"
                );
                None
            }
        }
    }
}

fn id(number: u64) -> String {
    format!("{number:064x}")
}

fn envelope_of(number: u64, run: &str, key: &str, second: u64) -> String {
    json!({
        "event_id": id(number),
        "event_type": "flows",
        "ts_utc": format!("2026-01-28T08:00:{second:02}.000000Z"),
        "manifest_fingerprint": "ab".repeat(32),
        "platform_run_id": run,
        "payload": { "flow_id": key },
    })
    .to_string()
}

fn envelope(number: u64) -> String {
    envelope_of(number, "platform_20260128T090000Z", "k", 0)
}

fn gate(options: GateOptions) -> StandInGate {
    StandInGate::start(GateOptions {
        threads: 1,
        ..options
    })
    .unwrap()
}

/// Options of a gate at an address that no other test uses: while it is down, nobody else gets
/// its port.
fn alone(number: u8) -> GateOptions {
    GateOptions {
        listen: SocketAddr::from(([127, 83, 84, number], 0)),
        ..GateOptions::default()
    }
}

fn faulty(rule: FaultRule) -> StandInGate {
    gate(GateOptions {
        faults: vec![rule],
        ..GateOptions::default()
    })
}

#[test]
fn an_event_that_is_too_large_gets_413_and_the_connection_lives_on() {
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    let mut client = Client::of(&gate);
    for bytes in [17 << 20, 40 << 20] {
        let reply = client.push(&"x".repeat(bytes)).unwrap();
        assert_eq!(reply.status, 413, "{}", reply.body);
        assert!(reply.body.contains("payload_too_large"), "{}", reply.body);
    }
    assert_eq!(client.push("{}").unwrap().status, 400);
}

#[test]
fn an_event_is_admitted_once_for_each_platform_run() {
    let gate = gate(GateOptions::default());
    let mut client = Client::of(&gate);
    assert_eq!(client.push(&envelope(1)).unwrap().decision(), "ADMIT");
    assert_eq!(client.push(&envelope(1)).unwrap().decision(), "DUPLICATE");
    assert_eq!(client.push(&envelope(2)).unwrap().decision(), "ADMIT");
    let elsewhere = envelope_of(1, "platform_20260129T090000Z", "k", 0);
    assert_eq!(client.push(&elsewhere).unwrap().decision(), "ADMIT");
    assert!(gate.has(&id(1)) && gate.has(&id(2)) && !gate.has(&id(3)));

    let stats = gate.stats();
    assert_eq!(
        (stats.posts, stats.admitted, stats.duplicates, stats.unique),
        (4, 3, 1, 3)
    );
    assert_eq!(stats.statuses, [(200, 4)].into());
    assert_eq!(stats.connections, 1, "the connection is kept alive");
}

#[test]
fn what_is_no_envelope_is_refused_and_never_stored() {
    let gate = gate(GateOptions::default());
    let mut client = Client::of(&gate);
    let mut extra: Value = serde_json::from_str(&envelope(1)).unwrap();
    extra["surprise"] = json!(1);
    let mut lacking: Value = serde_json::from_str(&envelope(1)).unwrap();
    lacking.as_object_mut().unwrap().remove("ts_utc");
    for body in [
        "",
        "{",
        "[]",
        &extra.to_string(),
        &lacking.to_string(),
        &envelope(1)[1..],
    ] {
        let reply = client.push(body).unwrap();
        assert_eq!(reply.status, 400, "{body}");
        assert!(reply.body.contains("ENVELOPE_INVALID"), "{}", reply.body);
    }
    assert!(
        client
            .push(&extra.to_string())
            .unwrap()
            .body
            .contains("surprise")
    );
    assert!(!gate.has(&id(1)));
    assert_eq!((gate.stats().invalid, gate.stats().unique), (7, 0));
}

#[test]
fn a_post_without_the_token_is_turned_away() {
    let token = Token {
        header: "X-IG-Api-Key".to_owned(),
        value: "s3cret".to_owned(),
    };
    let options = GateOptions {
        token: Some(token),
        ..GateOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cret"));
    let gate = gate(options);
    let mut client = Client::of(&gate);
    let mut push = |headers: &str| {
        client
            .send("POST", "/v1/ingest/push", headers, &envelope(1))
            .unwrap()
            .status
    };
    assert_eq!(push(""), 401);
    assert_eq!(push("x-ig-api-key: wrong\r\n"), 401);
    assert!(!gate.has(&id(1)));
    assert_eq!(push("x-ig-api-key: s3cret\r\n"), 200);
    assert_eq!(gate.stats().unauthorized, 2);
}

#[test]
fn stats_and_health_are_served_and_other_paths_are_not() {
    let gate = gate(GateOptions::default());
    let mut client = Client::of(&gate);
    client.push(&envelope(1)).unwrap();
    let stats: Value =
        serde_json::from_str(&client.send("GET", "/stats", "", "").unwrap().body).unwrap();
    assert_eq!(stats["admitted"], 1);
    assert_eq!(stats, serde_json::to_value(gate.stats()).unwrap());
    assert_eq!(client.send("GET", "/healthz", "", "").unwrap().status, 200);
    assert_eq!(
        client
            .send("GET", "/v1/ingest/push", "", "")
            .unwrap()
            .status,
        405
    );
    assert_eq!(
        client
            .send("POST", "/v1/ingest/push/v1/ingest/push", "", "")
            .unwrap()
            .status,
        404
    );
}

fn kept_ids(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["event_id"].clone();
    text.lines()
        .map(|line| id(line).as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_gate_restarted_on_its_kept_file_remembers_the_ids() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.ndjson");
    let options = || GateOptions {
        keep: Some(path.clone()),
        ..alone(1)
    };
    let first = gate(options());
    let mut client = Client::of(&first);
    client.push(&envelope(1)).unwrap();
    client.push(&envelope(2).replace(',', "\r\n,\n")).unwrap();
    client.push(&envelope(1)).unwrap();
    let address = first.address();
    first.abort();
    assert_eq!(
        kept_ids(&path),
        [id(1), id(2)],
        "each event is one line, once"
    );

    // A line that a kill has cut was never answered.
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(&envelope(3).as_bytes()[..50]).unwrap();
    let second = gate(GateOptions {
        listen: address,
        ..options()
    });
    assert_eq!(
        second.address(),
        address,
        "a stopped gate has let go of its address"
    );
    assert_eq!(second.stats().unique, 2);
    let mut client = Client::of(&second);
    assert_eq!(client.push(&envelope(2)).unwrap().decision(), "DUPLICATE");
    assert_eq!(client.push(&envelope(3)).unwrap().decision(), "ADMIT");
    second.stop();
    assert_eq!(kept_ids(&path), [id(1), id(2), id(3)]);
}

/// Read by another handle: what it shows has left the gate's process, and outlives it.
#[test]
fn an_acknowledged_event_is_in_the_file_before_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.ndjson");
    let gate = gate(GateOptions {
        keep: Some(path.clone()),
        ..GateOptions::default()
    });
    let mut client = Client::of(&gate);
    for number in 0..200 {
        client.push(&envelope(number)).unwrap();
        assert_eq!(kept_ids(&path).len() as u64, number + 1);
    }
}

#[test]
fn order_is_checked_for_each_key_and_duplicates_do_not_count() {
    let columns = HashMap::from([("flows".to_owned(), "flow_id".to_owned())]);
    let gate = gate(GateOptions {
        order: OrderCheck::PerKey(columns),
        ..GateOptions::default()
    });
    let mut client = Client::of(&gate);
    let mut push = |number, key, second| {
        client
            .push(&envelope_of(
                number,
                "platform_20260128T090000Z",
                key,
                second,
            ))
            .unwrap();
        gate.stats().order_violations
    };
    assert_eq!(push(1, "a", 10), 0);
    assert_eq!(push(2, "b", 5), 0, "another key");
    assert_eq!(push(3, "a", 10), 0, "a tie");
    assert_eq!(push(4, "a", 12), 0);
    assert_eq!(push(1, "a", 10), 0, "a duplicate");
    assert_eq!(push(5, "a", 11), 1);
    assert_eq!(push(6, "a", 11), 2, "the latest time stands");
    assert_eq!(push(7, "b", 6), 2);
}

#[test]
fn total_order_is_checked_over_all_keys() {
    let gate = gate(GateOptions {
        order: OrderCheck::Total,
        ..GateOptions::default()
    });
    let mut client = Client::of(&gate);
    for (number, key, second) in [(1, "a", 10), (2, "b", 5)] {
        client
            .push(&envelope_of(
                number,
                "platform_20260128T090000Z",
                key,
                second,
            ))
            .unwrap();
    }
    assert_eq!(gate.stats().order_violations, 1);
}

#[test]
fn arrivals_are_stamped_between_sending_and_the_answer() {
    let gate = gate(GateOptions {
        record_arrivals: true,
        ..GateOptions::default()
    });
    let (epoch, _) = gate.epoch();
    let mut client = Client::of(&gate);
    let mut sent = Vec::new();
    for number in [7, 8, 7] {
        let before = epoch.elapsed();
        client
            .push(&envelope_of(
                number,
                "platform_20260128T090000Z",
                "k",
                number,
            ))
            .unwrap();
        sent.push(before..epoch.elapsed());
    }
    let arrivals = gate.arrivals();
    assert_eq!(arrivals.len(), 2, "a duplicate is no arrival");
    for (arrival, sent) in arrivals.iter().zip(sent) {
        assert!(sent.contains(&Duration::from_nanos(arrival.arrived_ns)));
    }
    assert_eq!(arrivals[1].event_id[31], 8);
    assert_eq!(arrivals[1].event_time_ns, 1_769_587_208_000_000_000);
}

#[test]
fn a_status_is_answered_with_either_form_of_retry_after() {
    let status = |retry_after| Fault::Status {
        code: 503,
        retry_after,
        body: None,
        store: false,
    };
    let gate = faulty(FaultRule::next(1, status(Some(RetryAfter::Seconds(7)))));
    let reply = Client::of(&gate).push(&envelope(1)).unwrap();
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("7"))
    );
    assert!(!gate.has(&id(1)));
    assert_eq!(
        Client::of(&gate).push(&envelope(1)).unwrap().status,
        200,
        "only the next one"
    );

    gate.set_faults(vec![FaultRule::always(status(Some(RetryAfter::DateIn(
        60,
    ))))])
    .unwrap();
    let reply = Client::of(&gate).push(&envelope(2)).unwrap();
    let date = reply.header("retry-after").unwrap();
    let date = chrono::NaiveDateTime::parse_from_str(date, "%a, %d %b %Y %H:%M:%S GMT").unwrap();
    let ahead = (date.and_utc() - chrono::Utc::now()).num_seconds();
    assert!((30..=60).contains(&ahead), "{ahead}");
    assert_eq!((gate.stats().faulted, gate.stats().admitted), (2, 1));
}

#[test]
fn a_bad_status_may_hide_that_the_event_was_stored() {
    let body = Some("over\u{7}load".to_owned());
    let gate = faulty(FaultRule::next(
        1,
        Fault::Status {
            code: 500,
            retry_after: None,
            body: body.clone(),
            store: true,
        },
    ));
    let mut client = Client::of(&gate);
    let reply = client.push(&envelope(1)).unwrap();
    assert_eq!((reply.status, Some(reply.body)), (500, body));
    assert_eq!(client.push(&envelope(1)).unwrap().decision(), "DUPLICATE");
}

#[test]
fn connections_are_dropped_before_and_after_storing() {
    let gate = faulty(FaultRule::next(1, Fault::DropBeforeReading));
    assert!(Client::of(&gate).push(&envelope(1)).is_none());
    assert!(!gate.has(&id(1)));
    gate.set_faults(vec![FaultRule::next(1, Fault::DropAfterStoring)])
        .unwrap();
    assert!(Client::of(&gate).push(&envelope(1)).is_none());
    assert!(gate.has(&id(1)));
    assert_eq!(
        Client::of(&gate).push(&envelope(1)).unwrap().decision(),
        "DUPLICATE"
    );
    assert_eq!(gate.stats().statuses, [(0, 2), (200, 1)].into());
}

#[test]
fn an_answer_is_truncated_after_the_event_was_stored() {
    let gate = faulty(FaultRule::always(Fault::TruncateAnswer));
    let mut stream = Client::of(&gate).0;
    let body = envelope(1);
    let head = format!(
        "POST /v1/ingest/push HTTP/1.1\r\nhost: g\r\ncontent-length: {}",
        body.len()
    );
    stream
        .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    // Reset or closed, by how the kernel gets to it; what counts is what came.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-length: 20"), "{answer}");
    assert!(answer.ends_with("{\"decision"), "{answer}");
    assert!(gate.has(&id(1)));
}

#[test]
fn a_200_may_say_nothing_of_use() {
    let gate = faulty(FaultRule::next(1, Fault::GarbageAnswer));
    let mut client = Client::of(&gate);
    let reply = client.push(&envelope(1)).unwrap();
    assert_eq!(reply.status, 200);
    assert!(serde_json::from_str::<Value>(&reply.body).is_err());
    gate.set_faults(vec![FaultRule::next(1, Fault::NoDecision)])
        .unwrap();
    let reply = client.push(&envelope(2)).unwrap();
    assert_eq!((reply.status, reply.decision()), (200, Value::Null));
    assert!(gate.has(&id(1)) && gate.has(&id(2)));
}

#[test]
fn a_redirect_names_another_place() {
    let location = "http://elsewhere.invalid/v1/ingest/push".to_owned();
    let gate = faulty(FaultRule::always(Fault::Redirect {
        location: location.clone(),
    }));
    let reply = Client::of(&gate).push(&envelope(1)).unwrap();
    assert_eq!(
        (reply.status, reply.header("location")),
        (307, Some(location.as_str()))
    );
    assert!(!gate.has(&id(1)));
}

#[test]
fn answers_are_delayed_stalled_and_trickled() {
    let gate = faulty(FaultRule::next(1, Fault::Delay { ms: 80 }));
    let timed = |number| {
        let start = Instant::now();
        (Client::of(&gate).push(&envelope(number)), start.elapsed())
    };
    let (reply, after) = timed(1);
    assert_eq!(reply.unwrap().decision(), "ADMIT");
    assert!(after >= Duration::from_millis(80));

    gate.set_faults(vec![FaultRule::next(
        1,
        Fault::Stall {
            ms: 80,
            store: true,
        },
    )])
    .unwrap();
    let (reply, after) = timed(2);
    assert!(reply.is_none() && gate.has(&id(2)));
    assert!(after >= Duration::from_millis(80));

    gate.set_faults(vec![FaultRule::next(1, Fault::Trickle { ms_per_byte: 5 })])
        .unwrap();
    let (reply, after) = timed(3);
    assert_eq!(reply.unwrap().decision(), "ADMIT");
    assert!(after >= Duration::from_millis(5 * 20));
}

#[test]
fn one_event_can_be_rejected_by_its_id() {
    let fault = Fault::Status {
        code: 422,
        retry_after: None,
        body: None,
        store: false,
    };
    let when = When {
        event_ids: vec![id(2)],
        ..When::default()
    };
    let gate = faulty(FaultRule { fault, when });
    let mut client = Client::of(&gate);
    let statuses = [1, 2, 3, 2].map(|number| client.push(&envelope(number)).unwrap().status);
    assert_eq!(statuses, [200, 422, 200, 422]);
    assert_eq!(gate.stats().faults_fired, [2]);
}

#[test]
fn an_event_can_be_quarantined() {
    let gate = faulty(FaultRule::next(1, Fault::Quarantine));
    let mut client = Client::of(&gate);
    assert_eq!(client.push(&envelope(1)).unwrap().decision(), "QUARANTINE");
    assert_eq!(client.push(&envelope(1)).unwrap().decision(), "DUPLICATE");
    assert_eq!((gate.stats().quarantined, gate.stats().unique), (1, 1));
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let struck = |seed| {
        let fault = Fault::Status {
            code: 500,
            retry_after: None,
            body: None,
            store: false,
        };
        let faults = vec![FaultRule::with_probability(0.3, fault)];
        let gate = gate(GateOptions {
            faults,
            seed,
            ..GateOptions::default()
        });
        let mut client = Client::of(&gate);
        (0..400)
            .map(|n| client.push(&envelope(n)).unwrap().status == 500)
            .collect::<Vec<_>>()
    };
    assert_eq!(struck(1), struck(1));
    assert_ne!(struck(1), struck(2));
    let share = struck(3).iter().filter(|hit| **hit).count();
    assert!((80..160).contains(&share), "{share} of 400 at 0.3");
}

#[test]
fn a_fault_keeps_to_its_window_of_time() {
    let fault = Fault::Status {
        code: 503,
        retry_after: None,
        body: None,
        store: false,
    };
    let when = When {
        after_ms: Some(0),
        for_ms: Some(150),
        ..When::default()
    };
    let gate = faulty(FaultRule { fault, when });
    let mut client = Client::of(&gate);
    // The first post may come when a slow machine has slept through the window.
    let recovered = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        client.push(&envelope(1)).unwrap().status == 200
    });
    assert!(recovered);
}

#[test]
fn a_fault_lets_posts_pass_first_and_then_strikes_so_many() {
    let gate = faulty(FaultRule::next(2, Fault::Reset { store: false }).after(2));
    let answered = [1, 2, 3, 4, 5].map(|number| Client::of(&gate).push(&envelope(number)));
    let answered = answered.map(|reply| reply.is_some());
    assert_eq!(answered, [true, true, false, false, true]);
    assert_eq!(gate.stats().faults_fired, [2]);
}

#[test]
fn a_connection_is_reset_before_or_after_the_event_is_stored() {
    for store in [false, true] {
        let gate = faulty(FaultRule::next(1, Fault::Reset { store }));
        let mut stream = Client::of(&gate).0;
        let body = envelope(1);
        let head = format!(
            "POST /v1/ingest/push HTTP/1.1\r\nhost: g\r\ncontent-length: {}",
            body.len()
        );
        stream
            .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
            .unwrap();
        let ended = stream.read(&mut [0; 100]).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        assert_eq!(gate.has(&id(1)), store);
        assert_eq!(Client::of(&gate).push(&envelope(1)).unwrap().status, 200);
    }
}

#[test]
fn a_gate_that_restarts_is_where_it_was_and_remembers() {
    let mut gate = gate(alone(2));
    let address = gate.address();
    let mut client = Client::of(&gate);
    client.push(&envelope(1)).unwrap();
    gate.die();
    assert!(TcpStream::connect(address).is_err(), "nobody listens");
    gate.bring_up().unwrap();
    assert_eq!(gate.address(), address);
    assert!(
        client.push(&envelope(2)).is_none(),
        "its connections are cut"
    );
    assert_eq!(
        Client::of(&gate).push(&envelope(1)).unwrap().decision(),
        "DUPLICATE"
    );
}

#[test]
fn a_settled_gate_has_done_with_all_clients_that_left() {
    let gate = gate(GateOptions::default());
    for number in 0..20 {
        let mut stream = Client::of(&gate).0;
        let body = envelope(number);
        let head = format!(
            "POST /v1/ingest/push HTTP/1.1\r\nhost: g\r\ncontent-length: {}",
            body.len()
        );
        stream
            .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        drop(stream);
    }
    assert!(gate.settle(Duration::from_secs(30)));
    let stats = gate.stats();
    assert_eq!(stats.connections, 21, "theirs, and the one that asked");
    assert_eq!(stats.posts, stats.admitted + stats.unfinished);
    let open = Client::of(&gate);
    assert!(!gate.settle(Duration::from_millis(50)), "one is open");
    drop(open);
}

#[test]
fn an_arrival_tells_how_many_posts_the_gate_had_in_hand() {
    let gate = StandInGate::start(GateOptions {
        record_arrivals: true,
        threads: 2,
        faults: vec![FaultRule::next(2, Fault::Delay { ms: 300 })],
        ..GateOptions::default()
    })
    .unwrap();
    let address = gate.address();
    let clients = [1, 2].map(|number| {
        std::thread::spawn(move || Client::at(address).push(&envelope(number)).unwrap())
    });
    for client in clients {
        client.join().unwrap();
    }
    Client::of(&gate).push(&envelope(3)).unwrap();
    let in_hand: Vec<u32> = gate
        .arrivals()
        .iter()
        .map(|arrival| arrival.in_hand)
        .collect();
    assert!(
        in_hand[..2].iter().all(|count| (1..=2).contains(count)),
        "{in_hand:?}"
    );
    assert_eq!(in_hand[2], 1);
}

#[test]
fn the_first_rule_that_applies_is_the_only_one() {
    let status = |code| Fault::Status {
        code,
        retry_after: None,
        body: None,
        store: false,
    };
    let gate = gate(GateOptions {
        faults: vec![
            FaultRule::next(1, status(500)),
            FaultRule::next(1, status(502)),
        ],
        ..GateOptions::default()
    });
    let mut client = Client::of(&gate);
    let statuses = [0; 3].map(|_| client.push(&envelope(1)).unwrap().status);
    assert_eq!(statuses, [500, 502, 200]);
    assert_eq!(gate.stats().faults_fired, [1, 1]);
}

#[test]
fn faults_are_steered_over_http() {
    let gate = gate(GateOptions::default());
    let mut client = Client::of(&gate);
    let rules = json!({ "faults": [
        { "do": { "status": { "code": 429, "retry_after": { "seconds": 1 } } }, "when": { "next": 1 } },
        { "do": "drop_after_storing" },
    ]});
    assert_eq!(
        client
            .send("POST", "/control", "", &rules.to_string())
            .unwrap()
            .status,
        200
    );
    assert_eq!(client.push(&envelope(1)).unwrap().status, 429);
    assert!(client.push(&envelope(1)).is_none());
    let mut client = Client::of(&gate);
    for wrong in [
        json!({ "faults": [{ "do": "explode" }] }),
        json!({ "faults": [{ "do": "quarantine", "when": { "probabilty": 0.1 } }] }),
        json!({ "faults": [{ "do": "quarantine", "when": { "probability": 1.1 } }] }),
        json!({ "faults": [{ "do": { "status": { "code": 42 } } }] }),
        json!({}),
    ] {
        let reply = client
            .send("POST", "/control", "", &wrong.to_string())
            .unwrap();
        assert_eq!(reply.status, 400, "{wrong}");
    }
    assert!(
        client.push(&envelope(2)).is_none(),
        "the rules in force stay"
    );
    let mut client = Client::of(&gate);
    client
        .send("POST", "/control", "", r#"{"faults":[]}"#)
        .unwrap();
    assert_eq!(client.push(&envelope(3)).unwrap().decision(), "ADMIT");
}

#[test]
fn a_stopping_gate_finishes_what_it_has_in_hand_and_an_aborted_one_does_not() {
    for (gracefully, answered) in [(true, true), (false, false)] {
        let gate = gate(GateOptions {
            faults: vec![FaultRule::always(Fault::Delay { ms: 300 })],
            ..alone(3)
        });
        let address = gate.address();
        let idle = Client::of(&gate);
        let client = std::thread::spawn(move || Client::at(address).push(&envelope(1)));
        while gate.stats().posts == 0 {
            std::thread::yield_now();
        }
        if gracefully {
            gate.stop();
        } else {
            gate.abort();
        }
        assert_eq!(client.join().unwrap().is_some(), answered);
        assert!(
            TcpStream::connect(address).is_err(),
            "nobody listens any more"
        );
        drop(idle);
    }
}

#[test]
fn an_address_in_use_is_said_to_be() {
    let first = gate(GateOptions::default());
    let options = GateOptions {
        listen: first.address(),
        ..GateOptions::default()
    };
    let error = StandInGate::start(options).unwrap_err();
    assert_eq!(error.code().as_str(), "SANDBOX_GATE_UNBOUND");
    assert!(error.to_string().contains(&first.address().to_string()));
}

#[tokio::test]
async fn a_gate_is_started_and_stopped_from_async_code_too() {
    let first = gate(alone(4));
    let listen = first.address();
    let second = GateOptions {
        listen,
        ..GateOptions::default()
    };
    assert!(StandInGate::start(second.clone()).is_err());
    first.stop();
    gate(second.clone()).abort();
    drop(gate(second));
}

#[test]
fn a_bench_gate_only_counts() {
    let gate = gate(GateOptions::bench());
    let mut client = Client::of(&gate);
    for body in ["anything", "anything", ""] {
        assert_eq!(client.push(body).unwrap().decision(), "ADMIT");
    }
    assert_eq!((gate.stats().admitted, gate.stats().unique), (3, 0));
}

#[test]
fn copies_of_an_event_on_many_connections_are_admitted_once() {
    let gate = StandInGate::start(GateOptions::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::of(&gate);
                for number in 0..200 {
                    client.push(&envelope(number)).unwrap();
                }
            });
        }
    });
    assert_eq!(
        (gate.stats().admitted, gate.stats().duplicates),
        (200, 1400)
    );
}

//! One async fn a promise, generic over the client.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use push::ANSWER_LIMIT;
use push::{
    Answer, ClientOptions, ConcurrencyLimit, FaultKind, GateWatch, PushClient, PushEndpoint,
    PushFault, PushLane, PushOutcome, Pusher, RetryAfter, RetryPolicy, Stop,
};
use tokio::net::TcpListener;

use crate::scripted_gate::{Act, ScriptedGate, admit, answer};
use crate::{Subject, patient};

/// Soon for a test, and longer than a busy machine leaves a whole post waiting.
const HASTY: Duration = Duration::from_secs(2);

type Lane<S> = <<S as Subject>::Client as PushClient>::Lane;

const EVENT: Bytes = Bytes::from_static(br#"{"event_id":"e"}"#);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

fn lane<S: Subject>(gate: &ScriptedGate, options: ClientOptions) -> Lane<S> {
    let endpoint = PushEndpoint::parse(&gate.url).unwrap();
    S::client(&endpoint, options, gate.root.clone()).lane()
}

fn hasty() -> ClientOptions {
    ClientOptions {
        timeout: HASTY,
        ..patient()
    }
}

/// What one post to a gate with one act gives; and that the lane recovers from it, whatever it was.
async fn one<S: Subject>(act: Act, options: ClientOptions) -> Result<Answer, PushFault> {
    let gate = ScriptedGate::start([act]).await;
    let mut lane = lane::<S>(&gate, options);
    let result = lane.post(EVENT).await;
    let next = lane.post(EVENT).await.unwrap();
    assert_eq!(
        next.body, r#"{"decision":"ADMIT","n":2}"#,
        "the next post has its own answer"
    );
    result
}

async fn fault_of<S: Subject>(act: Act) -> FaultKind {
    one::<S>(act, patient()).await.unwrap_err().kind()
}

fn ok(rest: &str) -> Vec<u8> {
    [OK, rest.as_bytes()].concat()
}

pub(crate) async fn the_request_is_a_json_post_with_its_token<S: Subject>() {
    let gate = ScriptedGate::start([]).await;
    let endpoint = PushEndpoint::parse(&format!("{}/base/", gate.url)).unwrap();
    let mut lane = S::client(&endpoint, patient(), None).lane();
    lane.post(EVENT).await.unwrap();
    // The second time, from whatever was kept of the first.
    lane.post(EVENT).await.unwrap();
    for received in gate.received() {
        let head = received.head.to_ascii_lowercase();
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("post /base/v1/ingest/push http/1.1"));
        let mut headers: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        headers.retain(|header| !header.starts_with("accept:"));
        headers.sort_unstable();
        let host = format!("host: {}", gate.url.strip_prefix("http://").unwrap());
        let expected = [
            "accept-encoding: identity",
            "content-length: 16",
            "content-type: application/json",
            &host,
            concat!("user-agent: wsp/", env!("CARGO_PKG_VERSION")),
            "x-ig-api-key: s3cr3t",
        ];
        assert_eq!(headers, expected);
        assert_eq!(received.body, EVENT);
    }
    assert_eq!(gate.received().len(), 2);
}

pub(crate) async fn a_large_body_arrives_whole<S: Subject>() {
    let gate = ScriptedGate::start([]).await;
    let mut lane = lane::<S>(&gate, patient());
    let body: Vec<u8> = (0..4_000_000_u32)
        .map(|i| i.to_le_bytes()[i as usize % 4])
        .collect();
    for _ in 0..2 {
        lane.post(Bytes::from(body.clone())).await.unwrap();
    }
    assert!(gate.received().iter().all(|received| received.body == body));
}

pub(crate) async fn an_answer_is_an_answer_whatever_its_status<S: Subject>() {
    for status in [
        200, 201, 202, 400, 401, 404, 408, 409, 413, 422, 429, 500, 502, 503, 599,
    ] {
        let got = one::<S>(Act::Write(answer(status, "", "b")), patient())
            .await
            .unwrap();
        assert_eq!(got, Answer::new(status, "b"));
    }
    for status in [204, 304] {
        let bare = format!("HTTP/1.1 {status} S\r\n\r\n").into_bytes();
        let got = one::<S>(Act::Write(bare), patient()).await.unwrap();
        assert_eq!((got.status, got.body.len()), (status, 0));
    }
}

pub(crate) async fn both_forms_of_retry_after_are_read<S: Subject>() {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, expected) in [
        ("119", Some(RetryAfter::Delay(Duration::from_secs(119)))),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(RetryAfter::At(date))),
        ("soon", None),
    ] {
        let header = format!("Retry-After: {value}\r\n");
        let got = one::<S>(Act::Write(answer(503, &header, "")), patient())
            .await
            .unwrap();
        assert_eq!(got.retry_after, expected, "{value}");
    }
}

pub(crate) async fn redirects_are_not_followed<S: Subject>() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = answer(status, "location: /v1/ingest/push?again\r\n", "");
        let gate = ScriptedGate::start([Act::Write(elsewhere)]).await;
        let got = lane::<S>(&gate, patient()).post(EVENT).await.unwrap();
        assert_eq!(got.status, status);
        assert_eq!(gate.received().len(), 1);
    }
}

pub(crate) async fn informational_answers_are_passed_over<S: Subject>() {
    let mut bytes =
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".to_vec();
    bytes.extend(admit(7));
    let got = one::<S>(Act::Write(bytes), patient()).await.unwrap();
    assert_eq!(
        (got.status, &*got.body),
        (200, &br#"{"decision":"ADMIT","n":7}"#[..])
    );
}

pub(crate) async fn a_chunked_body_is_whole<S: Subject>() {
    let chunked = ok(
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n1\r\nf\r\n0\r\nt: 1\r\n\r\n",
    );
    let got = one::<S>(Act::Write(chunked), patient()).await.unwrap();
    assert_eq!(got.body, "abcdef");
}

pub(crate) async fn a_body_up_to_the_end_of_the_connection_is_whole<S: Subject>() {
    for head in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
    ] {
        let bytes = [head.as_bytes(), b"all of it"].concat();
        let got = one::<S>(Act::WriteThenClose(bytes), patient())
            .await
            .unwrap();
        assert_eq!(got.body, "all of it");
    }
}

pub(crate) async fn a_body_cut_short_is_a_fault<S: Subject>() {
    for cut in [
        ok("content-length: 10\r\n\r\n"),
        ok("content-length: 10\r\n\r\n123456789"),
        ok("transfer-encoding: chunked\r\n\r\n"),
        ok("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        ok("transfer-encoding: chunked\r\n\r\n3\r\nab"),
        ok("transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"),
    ] {
        let kind = fault_of::<S>(Act::WriteThenClose(cut.clone())).await;
        assert_eq!(kind, FaultKind::BodyTruncated, "{}", cut.escape_ascii());
    }
    let reset = fault_of::<S>(Act::WriteThenReset(ok("content-length: 10\r\n\r\n123"))).await;
    assert!(
        matches!(reset, FaultKind::Reset | FaultKind::BodyTruncated),
        "{reset:?}"
    );
}

pub(crate) async fn a_close_before_the_answer_is_a_fault<S: Subject>() {
    for beginning in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
    ] {
        let kind = fault_of::<S>(Act::WriteThenClose(beginning.into())).await;
        assert_eq!(kind, FaultKind::ClosedEarly, "{beginning:?}");
        assert!(!kind.never_sent());
    }
    let close_after_100 = Act::WriteThenClose(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
    assert_eq!(fault_of::<S>(close_after_100).await, FaultKind::ClosedEarly);
}

pub(crate) async fn a_reset_is_a_fault<S: Subject>() {
    let kind = fault_of::<S>(Act::WriteThenReset(Vec::new())).await;
    assert_eq!(kind, FaultKind::Reset);
    assert!(!kind.never_sent());
}

pub(crate) async fn what_is_not_http_is_a_fault<S: Subject>() {
    for words in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ] {
        let kind = fault_of::<S>(Act::WriteThenClose(words.into())).await;
        assert_eq!(kind, FaultKind::Protocol, "{words:?}");
    }
}

pub(crate) async fn an_endless_head_is_a_fault<S: Subject>() {
    let head = [OK, b"x: ", &vec![b'a'; 4_000_000]].concat();
    let kind = fault_of::<S>(Act::WriteThenStall(head)).await;
    assert_eq!(kind, FaultKind::Protocol);
}

pub(crate) async fn a_stall_is_a_timeout<S: Subject>() {
    let fault = one::<S>(Act::WriteThenStall(Vec::new()), hasty())
        .await
        .unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout);
}

pub(crate) async fn a_trickle_is_a_timeout<S: Subject>() {
    let act = Act::Trickle(
        ok("transfer-encoding: chunked\r\n\r\n"),
        b"1\r\na\r\n",
        Duration::from_millis(5),
    );
    let fault = one::<S>(act, hasty()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout);
}

pub(crate) async fn a_stalled_body_is_a_timeout<S: Subject>() {
    let act = Act::WriteThenStall(ok("content-length: 10\r\n\r\n123"));
    let fault = one::<S>(act, hasty()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout);
}

pub(crate) async fn a_connection_serves_post_after_post<S: Subject>() {
    let gate = ScriptedGate::start([]).await;
    let mut lane = lane::<S>(&gate, patient());
    for n in 1..=50 {
        let got = lane.post(EVENT).await.unwrap();
        assert_eq!(got.body, format!(r#"{{"decision":"ADMIT","n":{n}}}"#));
    }
    let most = if S::EXACT_CONNECTIONS { 1 } else { 25 };
    assert!(
        gate.connections() <= most,
        "{} connections",
        gate.connections()
    );
}

pub(crate) async fn a_connection_that_the_gate_closes_is_replaced<S: Subject>() {
    let closing = |n: usize| {
        let body = format!("{n}");
        Act::WriteThenClose(answer(200, "connection: close\r\n", &body))
    };
    let gate = ScriptedGate::start((1..=5).map(closing)).await;
    let mut lane = lane::<S>(&gate, patient());
    for n in 1..=5 {
        assert_eq!(lane.post(EVENT).await.unwrap().body, n.to_string());
    }
    assert_eq!(gate.received().len(), 5);
    if S::EXACT_CONNECTIONS {
        assert_eq!(gate.connections(), 5);
    }
}

pub(crate) async fn a_connection_closed_between_posts_is_replaced_without_a_fault<S: Subject>() {
    let gate = ScriptedGate::start([Act::WriteThenClose(admit(1))]).await;
    let mut lane = lane::<S>(&gate, patient());
    lane.post(EVENT).await.unwrap();
    gate.closed(1).await;
    // A turn for the reactor, which has to see the close too.
    tokio::time::sleep(Duration::from_millis(20)).await;
    lane.post(EVENT).await.unwrap();
    assert_eq!(gate.received().len(), 2);
}

pub(crate) async fn a_post_that_fails_is_sent_once<S: Subject>() {
    let script = [Act::Write(admit(1)), Act::WriteThenClose(Vec::new())];
    let gate = ScriptedGate::start(script).await;
    let mut lane = lane::<S>(&gate, patient());
    lane.post(EVENT).await.unwrap();
    lane.post(EVENT).await.unwrap_err();
    assert_eq!(gate.received().len(), 2);
}

pub(crate) async fn a_late_answer_is_never_taken_for_the_next<S: Subject>() {
    let late = Act::Trickle(
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate",
        HASTY + HASTY / 5,
    );
    let fault = one::<S>(late, hasty()).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Timeout);
}

pub(crate) async fn an_answer_that_nobody_asked_for_is_never_taken_for_the_next<S: Subject>() {
    let twice = [admit(1), admit(99)].concat();
    let got = one::<S>(Act::Write(twice), patient()).await.unwrap();
    assert_eq!(got.body, r#"{"decision":"ADMIT","n":1}"#);
}

pub(crate) async fn a_dropped_post_gives_up_its_connection<S: Subject>() {
    let gate = ScriptedGate::start([Act::WriteThenStall(Vec::new())]).await;
    let mut lane = lane::<S>(&gate, patient());
    let sent = async {
        while gate.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        answer = lane.post(EVENT) => panic!("{answer:?}"),
        () = sent => {}
    }
    // The gate sees the close: nothing of the request lives on.
    gate.closed(1).await;
    assert_eq!(
        lane.post(EVENT).await.unwrap().body,
        r#"{"decision":"ADMIT","n":2}"#
    );
}

pub(crate) async fn of_a_long_body_only_the_beginning_is_kept<S: Subject>() {
    let exact = "x".repeat(ANSWER_LIMIT);
    let got = one::<S>(Act::Write(answer(200, "", &exact)), patient())
        .await
        .unwrap();
    assert_eq!((got.body.len(), got.overlong), (ANSWER_LIMIT, false));
    let longer = "x".repeat(ANSWER_LIMIT + 1);
    let got = one::<S>(Act::Write(answer(400, "", &longer)), patient())
        .await
        .unwrap();
    assert_eq!(
        (got.status, got.body.len(), got.overlong),
        (400, ANSWER_LIMIT, true)
    );
}

pub(crate) async fn an_endless_body_is_not_waited_for<S: Subject>() {
    let chunk: &'static [u8] = [b"4000\r\n".to_vec(), vec![b'x'; 0x4000], b"\r\n".to_vec()]
        .concat()
        .leak();
    let head = ok("transfer-encoding: chunked\r\n\r\n");
    let act = Act::Trickle(head, chunk, Duration::from_millis(1));
    let got = one::<S>(act, patient()).await.unwrap();
    assert_eq!((got.body.len(), got.overlong), (ANSWER_LIMIT, true));
}

pub(crate) async fn a_refused_connection_is_a_fault_until_the_gate_is_there<S: Subject>() {
    // An address of its own: nothing else on this machine may take the port meanwhile.
    let listener = TcpListener::bind("127.83.80.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let endpoint = PushEndpoint::parse(&format!("http://{address}")).unwrap();
    let mut lane = S::client(&endpoint, patient(), None).lane();
    let fault = lane.post(EVENT).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::ConnectRefused);
    assert!(fault.kind().never_sent());
    let _gate = ScriptedGate::serve(TcpListener::bind(address).await.unwrap(), [], None);
    lane.post(EVENT).await.unwrap();
}

pub(crate) async fn an_unknown_host_is_a_fault<S: Subject>() {
    // No resolver is asked for a label of more than 63 characters.
    let endpoint = PushEndpoint::parse(&format!("http://{}.invalid", "a".repeat(64))).unwrap();
    let fault = S::client(&endpoint, patient(), None)
        .lane()
        .post(EVENT)
        .await
        .unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Dns);
    assert!(fault.kind().never_sent());
}

pub(crate) async fn https_is_spoken_and_kept_alive<S: Subject>() {
    let gate = ScriptedGate::start_tls([]).await;
    let mut lane = lane::<S>(&gate, patient());
    for n in 1..=20 {
        let got = lane.post(EVENT).await.unwrap();
        assert_eq!(got.body, format!(r#"{{"decision":"ADMIT","n":{n}}}"#));
    }
    let most = if S::EXACT_CONNECTIONS { 1 } else { 10 };
    assert!(
        gate.connections() <= most,
        "{} connections",
        gate.connections()
    );
}

pub(crate) async fn a_certificate_that_nobody_vouches_for_is_refused<S: Subject>() {
    let mut gate = ScriptedGate::start_tls([]).await;
    gate.root = ScriptedGate::start_tls([]).await.root;
    let fault = lane::<S>(&gate, patient()).post(EVENT).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Certificate);
    assert!(fault.kind().never_sent());
    assert_eq!(gate.received().len(), 0);
}

pub(crate) async fn a_tls_body_cut_short_is_a_fault<S: Subject>() {
    let script = [
        Act::WriteThenClose(ok("content-length: 10\r\n\r\n123")),
        // Without a length the end of the session is the end of the body, and it was not announced.
        Act::WriteThenClose(ok("connection: close\r\n\r\n123")),
    ];
    let gate = ScriptedGate::start_tls(script).await;
    let mut lane = lane::<S>(&gate, patient());
    for _ in 0..2 {
        let fault = lane.post(EVENT).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::BodyTruncated);
    }
    lane.post(EVENT).await.unwrap();
}

pub(crate) async fn a_token_in_an_answer_is_struck_out<S: Subject>() {
    let echo = answer(401, "", "s3cr3t is no key");
    let got = one::<S>(Act::Write(echo), patient()).await.unwrap();
    assert_eq!(got.body, "*** is no key");
}

fn pusher<S: Subject>(gate: &ScriptedGate, stop: &Stop) -> Pusher<Lane<S>> {
    let policy = RetryPolicy {
        base_delay: Duration::from_millis(1),
        max_delay: Duration::from_millis(5),
        ..RetryPolicy::default()
    };
    let watch = GateWatch::new(policy, ConcurrencyLimit::adaptive(1));
    Pusher::new(lane::<S>(gate, hasty()), Arc::new(watch), stop)
}

pub(crate) async fn a_pusher_gets_its_events_through_every_trouble_in_order<S: Subject>() {
    let script = [
        Act::WriteThenReset(Vec::new()),
        Act::WriteThenClose(ok("content-length: 99\r\n\r\n{\"decision\":\"ADMIT\"}")),
        Act::WriteThenStall(Vec::new()),
        Act::Write(answer(500, "", "")),
        Act::Write(answer(429, "retry-after: 0\r\n", "")),
        Act::Write(answer(
            503,
            "retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "",
        )),
        Act::WriteThenClose(b"SSH-2.0\r\n\r\n".to_vec()),
        Act::Write(answer(408, "connection: close\r\n", "")),
    ];
    let troubles = script.len();
    let gate = ScriptedGate::start(script).await;
    let mut pusher = pusher::<S>(&gate, &Stop::new());
    for event in ["one", "two", "three"] {
        let outcome = pusher.push(Bytes::from_static(event.as_bytes())).await;
        assert!(
            matches!(outcome, PushOutcome::Acknowledged { .. }),
            "{outcome:?}"
        );
    }
    let received = gate.received();
    let bodies: Vec<_> = received
        .iter()
        .map(|received| received.body.as_slice())
        .collect();
    let mut expected = vec![&b"one"[..]; troubles + 1];
    expected.extend([&b"two"[..], b"three"]);
    assert_eq!(bodies, expected);
}

pub(crate) async fn a_stop_closes_the_connection_of_a_post_under_way<S: Subject>() {
    let gate = ScriptedGate::start([Act::WriteThenStall(ok("content-length: 99\r\n\r\n"))]).await;
    let stop = Stop::new();
    let policy = RetryPolicy::default();
    let watch = Arc::new(GateWatch::new(policy, ConcurrencyLimit::fixed()));
    let mut pusher = Pusher::new(lane::<S>(&gate, patient()), watch, &stop);
    let push = tokio::spawn(async move { pusher.push(EVENT).await });
    while gate.received().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    stop.throw();
    let outcome = push.await.unwrap();
    assert!(
        matches!(outcome, PushOutcome::Cancelled { maybe_sent: true }),
        "{outcome:?}"
    );
    gate.closed(1).await;
}

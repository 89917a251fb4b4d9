//! Byte streams that play a gate, and what two clients make of them: `push`'s and hyper's.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use model::Clock;
use push::{
    Answer, ClientOptions, Connector, DirectClient, PushClient as _, PushEndpoint, PushFault,
    PushLane as _,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The body of every request here; a request ends by it.
const REQUEST: &[u8] = b"{\"event\":1}";
/// The answer of the second connection.
pub const SECOND: &str = r#"{"decision":"ADMIT","second":true}"#;

/// What a gate sends on one connection, once the request is there.
#[derive(Debug, Clone)]
pub struct Said {
    /// The bytes.
    pub bytes: Bytes,
    /// How many come at once, at least one.
    pub step: usize,
    /// Whether the connection stays open behind them, and another request is answered by
    /// [`SECOND`].
    pub stays_open: bool,
}

/// The gate's end of one connection, as its client sees it.
#[derive(Debug)]
pub struct Stream {
    said: Said,
    at: usize,
    written: Vec<u8>,
    requests: usize,
    waiting: Option<Waker>,
}

impl Stream {
    /// A connection on which a gate says this.
    pub fn new(said: Said) -> Self {
        Self {
            said,
            at: 0,
            written: Vec::new(),
            requests: 0,
            waiting: None,
        }
    }

    fn poll_more(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<Bytes> {
        let left = self.said.bytes.len() - self.at;
        if self.requests == 0 || (left == 0 && self.said.stays_open) {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let some = left.min(self.said.step).min(most);
        let piece = self.said.bytes.slice(self.at..self.at + some);
        self.at += some;
        Poll::Ready(piece)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.written.extend_from_slice(bytes);
        if self.written.ends_with(REQUEST) {
            self.written.clear();
            self.requests += 1;
            if self.requests > 1 {
                self.said.bytes = second().bytes;
                self.at = 0;
            }
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
        bytes.len()
    }
}

/// What a gate says on a second connection, or to a second request.
pub fn second() -> Said {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{SECOND}",
        SECOND.len()
    );
    Said {
        bytes: head.into(),
        step: 7,
        stays_open: true,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_more(buffer.remaining(), cx).map(|piece| {
            buffer.put_slice(&piece);
            Ok(())
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.write(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_more(buffer.remaining(), cx).map(|piece| {
            buffer.put_slice(&piece);
            Ok(())
        })
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(self.write(bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Connects first to what an input says, then to [`second`].
struct Gate {
    first: Said,
    connected: AtomicUsize,
}

impl Connector for Gate {
    type Stream = Stream;

    async fn connect(&self) -> Result<Stream, PushFault> {
        let is_first = self.connected.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(Stream::new(if is_first {
            self.first.clone()
        } else {
            second()
        }))
    }
}

/// A clock on which no time passes.
#[derive(Clone)]
struct Still(Instant);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What `push`'s lane makes of a gate's bytes: the outcome of a post, and the body of the answer to
/// the next one. `None` where it waits for more for ever.
pub fn posted(said: &Said) -> Option<(Result<Answer, PushFault>, Bytes)> {
    let endpoint = PushEndpoint::parse("http://gate.example").expect("an endpoint");
    let gate = Gate {
        first: said.clone(),
        connected: AtomicUsize::new(0),
    };
    let clock = Still(Instant::now());
    let client = DirectClient::over(gate, clock, &endpoint, ClientOptions::default());
    let mut lane = client.expect("a client").lane();
    let first = run(lane.post(Bytes::from_static(REQUEST)))?;
    let second = run(lane.post(Bytes::from_static(REQUEST))).expect("the second post is answered");
    Some((first, second.expect("the second post is answered").body))
}

/// What hyper makes of a gate's bytes: status, headers and whole body; `None` if it refuses them or
/// waits for more.
pub fn by_hyper(said: &Said) -> Option<(hyper::Response<()>, Bytes)> {
    let exchange = async {
        let connecting = hyper::client::conn::http1::Builder::new()
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(2_000)
            .handshake::<_, Full<Bytes>>(Stream::new(said.clone()));
        let (mut sender, connection) = connecting.await.ok()?;
        let asking = async move {
            let request = hyper::Request::post("/v1/ingest/push")
                .header("host", "gate.example")
                .body(Full::new(Bytes::from_static(REQUEST)))
                .ok()?;
            let answer = sender.send_request(request).await.ok()?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some((hyper::Response::from_parts(head, ()), body))
        };
        // The answer may be there before the connection has ended, and the other way round.
        match futures::future::select(Box::pin(connection), Box::pin(asking)).await {
            futures::future::Either::Left((_, asking)) => asking.await,
            futures::future::Either::Right((answer, _)) => answer,
        }
    };
    run(exchange).flatten()
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future on this thread; `None` once nothing is left that could wake it.
fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
    }
    None
}

/// The laws of an answer, whose bytes come all at once, in pieces of `step`, and one by one; and
/// beside hyper.
///
/// # Panics
/// If one is broken.
pub fn keeps_the_laws(bytes: &[u8], step: usize) {
    let bytes = Bytes::copy_from_slice(bytes);
    let said = |step, stays_open| Said {
        bytes: bytes.clone(),
        step,
        stays_open,
    };
    let whole = said(usize::MAX, false);
    let (first, next) = posted(&whole).expect("the end of the connection ends the wait");
    assert_eq!(
        next, SECOND,
        "the answer to another request is taken for this one's"
    );
    for step in [1, step.max(2)] {
        let (cut, next) = posted(&said(step, false)).expect("the connection ends");
        assert_eq!(next, SECOND);
        assert_eq!(
            shown(&cut),
            shown(&first),
            "pieces of {step} bytes are read otherwise"
        );
    }
    if let Some((open, next)) = posted(&said(step.max(1), true)) {
        assert_eq!(
            next, SECOND,
            "a late answer is taken for that of the next request"
        );
        assert_eq!(
            shown(&open),
            shown(&first),
            "an answer that is whole ends with its connection"
        );
    }
    let hyper = by_hyper(&whole);
    match &first {
        Ok(answer) => {
            assert!(answer.body.len() <= push::ANSWER_LIMIT && answer.status >= 101);
            if answer.status != 101 && !has_odd_coding(&bytes) {
                let hyper = hyper.expect("hyper refuses it");
                is_answer(answer, &hyper);
            }
        }
        Err(fault) => {
            assert!(!fault.kind().never_sent(), "it was sent");
            assert!(!fault.to_string().is_empty() && !fault.is_stale());
            if let Some((head, _)) = &hyper {
                let on_purpose = head.status() == 101
                    || !has_one_length(head)
                    || has_odd_coding(&bytes)
                    || has_bare_line_feed(&bytes);
                assert!(on_purpose, "hyper takes it: {head:?}, {fault:?}");
            }
        }
    }
}

fn shown(outcome: &Result<Answer, PushFault>) -> String {
    match outcome {
        Ok(answer) => format!("{answer:?}"),
        Err(fault) => format!("{:?}", fault.kind()),
    }
}

fn is_answer(answer: &Answer, (head, body): &(hyper::Response<()>, Bytes)) {
    assert_eq!(answer.status, head.status().as_u16());
    assert_eq!(&answer.body, body);
    let field = |name| {
        head.headers()
            .get_all(name)
            .iter()
            .map(hyper::header::HeaderValue::as_bytes)
    };
    let retry_after = field("retry-after").find_map(push::RetryAfter::parse);
    assert_eq!(answer.retry_after, retry_after);
    let location = field("location")
        .last()
        .filter(|_| head.status().is_redirection());
    assert_eq!(answer.location.as_deref(), location);
}

/// Whether there is a transfer coding, and a byte that is no ASCII: hyper takes a field that holds
/// one for no `chunked`, whatever it ends with.
fn has_odd_coding(bytes: &[u8]) -> bool {
    let name = b"transfer-encoding";
    !bytes.is_ascii()
        && bytes
            .windows(name.len())
            .any(|some| some.eq_ignore_ascii_case(name))
}

/// Whether a line feed stands alone: hyper takes it for a part of a trailer, `push` refuses the body.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes
        .windows(2)
        .any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

/// Whether all lengths in a head are one number: hyper looks at them only where the body ends by
/// them, `push` refuses what contradicts itself anywhere.
fn has_one_length(head: &hyper::Response<()>) -> bool {
    let fields = head.headers().get_all("content-length").iter();
    let texts = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b','));
    let mut numbers = texts.map(|text| {
        let text = std::str::from_utf8(text.trim_ascii()).ok()?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().ok()).flatten()
    });
    let first = numbers.next();
    first.is_none_or(|first| first.is_some() && numbers.all(|other| other == first))
}

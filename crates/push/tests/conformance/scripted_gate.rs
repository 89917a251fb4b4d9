//! A gate that does to the letter what its script says, on raw TCP: the next act for each request,
//! on whatever connection it comes; an admission once the script is over.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the gate does with a request.
pub(crate) enum Act {
    /// Writes this, and reads the next request.
    Write(Vec<u8>),
    /// Writes this, and closes. By TLS: without a word.
    WriteThenClose(Vec<u8>),
    /// Writes this, and resets the connection.
    WriteThenReset(Vec<u8>),
    /// Writes this, and then nothing more.
    WriteThenStall(Vec<u8>),
    /// Writes the first, then the second, again and again, after each pause.
    Trickle(Vec<u8>, &'static [u8], Duration),
}

/// A whole answer of this status.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} S\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// An admission that tells which it is.
pub(crate) fn admit(n: usize) -> Vec<u8> {
    answer(200, "", &format!(r#"{{"decision":"ADMIT","n":{n}}}"#))
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct ScriptedGate {
    pub(crate) url: String,
    pub(crate) root: Option<CertificateDer<'static>>,
    state: Arc<State>,
    /// Ends with the gate.
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    script: Mutex<VecDeque<Act>>,
    received: Mutex<Vec<Received>>,
    opened: AtomicUsize,
    closed: AtomicUsize,
    a_close: Notify,
}

impl ScriptedGate {
    pub(crate) async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, script, None)
    }

    pub(crate) async fn start_tls(script: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate = made.cert.der().clone();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        Self::serve(
            listener,
            script,
            Some((TlsAcceptor::from(Arc::new(config)), certificate)),
        )
    }

    /// Serves on a listener that is there already.
    pub(crate) fn serve(
        listener: TcpListener,
        script: impl IntoIterator<Item = Act>,
        tls: Option<(TlsAcceptor, CertificateDer<'static>)>,
    ) -> Self {
        let state = Arc::new(State {
            script: Mutex::new(script.into_iter().collect()),
            ..State::default()
        });
        let port = listener.local_addr().unwrap().port();
        let (acceptor, root) = tls.unzip();
        let url = match acceptor {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, acceptor, Arc::clone(&state)));
        Self {
            url,
            root,
            state,
            _tasks: tasks,
        }
    }

    /// Every request so far, in the order in which they came.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.opened.load(SeqCst)
    }

    /// Waits until `n` connections are over, whoever closed them.
    pub(crate) async fn closed(&self, n: usize) {
        loop {
            let a_close = self.state.a_close.notified();
            if self.state.closed.load(SeqCst) >= n {
                return;
            }
            a_close.await;
        }
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        state.opened.fetch_add(1, SeqCst);
        let state = Arc::clone(&state);
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            // How a connection ends is the client's business, here and in every test.
            let _ = match acceptor {
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(tls) => converse(tls, &state, |_| Ok(())).await,
                    Err(error) => Err(error),
                },
                None => converse(tcp, &state, TcpStream::set_zero_linger).await,
            };
            state.closed.fetch_add(1, SeqCst);
            state.a_close.notify_waiters();
        });
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    state: &State,
    reset: impl Fn(&S) -> io::Result<()>,
) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let received = read_request(&mut stream, &mut pending).await?;
        let act = {
            let mut all = state.received.lock().unwrap();
            all.push(received);
            let admission = Act::Write(admit(all.len()));
            state
                .script
                .lock()
                .unwrap()
                .pop_front()
                .unwrap_or(admission)
        };
        let (Act::Write(bytes)
        | Act::WriteThenClose(bytes)
        | Act::WriteThenReset(bytes)
        | Act::WriteThenStall(bytes)
        | Act::Trickle(bytes, ..)) = &act;
        stream.write_all(bytes).await?;
        stream.flush().await?;
        match act {
            Act::Write(_) => {}
            Act::WriteThenClose(_) => return Ok(()),
            Act::WriteThenReset(_) => return reset(&stream),
            Act::WriteThenStall(_) => {
                // Until the client gives up.
                return read_request(&mut stream, &mut pending).await.map(drop);
            }
            Act::Trickle(_, bytes, pause) => loop {
                tokio::time::sleep(pause).await;
                stream.write_all(bytes).await?;
                stream.flush().await?;
            },
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(
    stream: &mut S,
    pending: &mut Vec<u8>,
) -> io::Result<Received> {
    let head_end = loop {
        if let Some(at) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, pending).await?;
    };
    let head = String::from_utf8(pending[..head_end].to_vec()).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0);
    while pending.len() < head_end + length {
        read_more(stream, pending).await?;
    }
    let rest = pending.split_off(head_end + length);
    let body = std::mem::replace(pending, rest).split_off(head_end);
    Ok(Received { head, body })
}

async fn read_more<S: AsyncRead + Unpin>(stream: &mut S, pending: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(pending).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

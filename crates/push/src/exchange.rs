//! One request and its answer over an open connection.
//!
//! The request is written and the answer read side by side: a gate may refuse a body that it
//! has not read to its end. What it said before it closed counts; only then does the fault of
//! the write.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::answer_body::AnswerBody;
use super::answer_head::AnswerHead;
use super::client::BodyBuffer;
use super::fault::{FaultKind, PushFault, Stage};
use super::received::Received;

/// An open connection between two requests.
pub(crate) struct Connection<S> {
    stream: S,
    received: Received,
    /// Whether an earlier request was answered over it.
    is_reused: bool,
}

/// A whole answer.
pub(crate) struct Exchanged<S> {
    pub(crate) head: AnswerHead,
    pub(crate) body: BodyBuffer,
    /// The connection, if it may carry another request.
    pub(crate) connection: Option<Connection<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: Received::default(),
            is_reused: false,
        }
    }

    /// Whether the gate has neither closed the connection nor said anything unasked, as far as
    /// is known here by now.
    pub(crate) async fn is_silent(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(self.received.poll_more(&mut self.stream, cx).is_pending())).await
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// [`PushFault`]; the connection is closed then.
    pub(crate) async fn exchange(
        self,
        head: &[u8],
        body: &[u8],
    ) -> Result<Exchanged<S>, PushFault> {
        let mut exchange = Exchange {
            connection: self,
            request: Request {
                parts: [head, body],
                progress: Progress::Writing,
            },
        };
        let head = exchange.read_head().await.map_err(|fault| {
            let connection = &exchange.connection;
            fault.before_any_answer(connection.is_reused && connection.received.is_empty())
        })?;
        let body = exchange.read_body(&head).await?;
        let Exchange {
            mut connection,
            request,
        } = exchange;
        connection.is_reused = true;
        let is_reusable = head.keeps_alive
            && !body.is_overlong()
            && matches!(request.progress, Progress::Sent)
            && connection.received.is_empty();
        Ok(Exchanged {
            head,
            body,
            connection: is_reusable.then_some(connection),
        })
    }
}

struct Exchange<'a, S> {
    connection: Connection<S>,
    request: Request<'a>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// The head of the answer; informational ones are passed over.
    async fn read_head(&mut self) -> Result<AnswerHead, PushFault> {
        loop {
            if self.more(Stage::Waiting).await? == 0 {
                return Err(self.cut_off(Stage::Waiting));
            }
            while let Some((head, length)) = AnswerHead::parse(self.connection.received.bytes())
                .map_err(|error| PushFault::because(FaultKind::Protocol, error))?
            {
                self.connection.received.take(length);
                if !head.is_informational() {
                    return Ok(head);
                }
            }
        }
    }

    /// The body of the answer, or as much of it as is kept.
    async fn read_body(&mut self, head: &AnswerHead) -> Result<BodyBuffer, PushFault> {
        let mut body = AnswerBody::from(head.body);
        let mut data = BodyBuffer::default();
        loop {
            let taken = body
                .take(self.connection.received.bytes(), &mut data)
                .map_err(|error| PushFault::because(FaultKind::Protocol, error))?;
            self.connection.received.take(taken.bytes);
            if taken.is_enough {
                return Ok(data);
            }
            if self.more(Stage::Reading).await? == 0 {
                return if body.may_end_with_connection() {
                    Ok(data)
                } else {
                    Err(self.cut_off(Stage::Reading))
                };
            }
        }
    }

    /// Waits for more bytes, none at the end of the connection, and writes meanwhile.
    async fn more(&mut self, stage: Stage) -> Result<usize, PushFault> {
        let Self {
            connection: Connection {
                stream, received, ..
            },
            request,
        } = self;
        let more = poll_fn(|cx| {
            request.poll_send(stream, cx);
            received.poll_more(stream, cx)
        });
        more.await
            .map_err(|error| PushFault::because(stage.kind_of(&error), error))
    }

    /// Why there is no more: the write's fault, if it had one.
    fn cut_off(&mut self, stage: Stage) -> PushFault {
        match std::mem::replace(&mut self.request.progress, Progress::Sent) {
            Progress::Failed(error) => PushFault::because(stage.kind_of(&error), error),
            Progress::Writing | Progress::Flushing | Progress::Sent => stage.cut_off().into(),
        }
    }
}

/// A request on its way out.
struct Request<'a> {
    /// What is still to be written of head and body.
    parts: [&'a [u8]; 2],
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Writing,
    Flushing,
    Sent,
    Failed(io::Error),
}

impl Request<'_> {
    /// Writes as much as the connection takes now.
    fn poll_send(&mut self, stream: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.try_send(stream, cx) {
            self.progress = Progress::Failed(error);
        }
    }

    fn try_send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Progress::Writing = self.progress {
            let slices = self.parts.map(IoSlice::new);
            let mut written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            for part in &mut self.parts {
                let of_it = written.min(part.len());
                *part = &part[of_it..];
                written -= of_it;
            }
            if self.parts.iter().all(|part| part.is_empty()) {
                self.progress = Progress::Flushing;
            }
        }
        if let Progress::Flushing = self.progress {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.progress = Progress::Sent;
        }
        Poll::Ready(Ok(()))
    }
}

//! Byte streams of the simulated network: late, in pieces, cut.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::Clock as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::SimClock;
use crate::dice::Dice;

/// How one direction of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// After what was written, nothing comes any more.
    Closed,
    /// At once, whatever was written.
    Reset,
}

#[derive(Debug, Default)]
struct Flow {
    pieces: VecDeque<(Duration, VecDeque<u8>)>,
    end: Option<End>,
    reader: Option<Waker>,
}

impl Flow {
    fn end(&mut self, end: End) {
        if self.end != Some(End::Reset) {
            self.end = Some(end);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

type SharedFlow = Arc<Mutex<Flow>>;

/// Called with each piece that is written.
pub(crate) type Tap = Box<dyn Fn(&[u8]) + Send>;

/// One end of a connection.
pub(crate) struct SimStream {
    clock: SimClock,
    dice: Dice,
    latency: Duration,
    last_arrival: Duration,
    incoming: SharedFlow,
    outgoing: SharedFlow,
    alarm: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    tap: Option<Tap>,
}

/// Cuts a connection from outside.
#[derive(Clone)]
pub(crate) struct Cutter([SharedFlow; 2]);

impl Cutter {
    /// Resets both directions.
    pub(crate) fn cut(&self) {
        for flow in &self.0 {
            locked(flow).end(End::Reset);
        }
    }

    /// Whether both directions have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.iter().all(|flow| locked(flow).end.is_some())
    }
}

/// A new connection: the client's end, the gate's, and what cuts it.
pub(crate) fn connection(
    clock: &SimClock,
    dice: &mut Dice,
    latency: Duration,
    tap: Tap,
) -> (SimStream, SimStream, Cutter) {
    let (there, back) = (SharedFlow::default(), SharedFlow::default());
    let mut end = |incoming: &SharedFlow, outgoing: &SharedFlow, tap| SimStream {
        clock: clock.clone(),
        dice: dice.apart(),
        latency,
        last_arrival: Duration::ZERO,
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        alarm: None,
        tap,
    };
    let client = end(&back, &there, Some(tap));
    let gate = end(&there, &back, None);
    (client, gate, Cutter([there, back]))
}

impl SimStream {
    /// Resets the connection.
    pub(crate) fn reset(&self) {
        locked(&self.incoming).end(End::Reset);
        locked(&self.outgoing).end(End::Reset);
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        locked(&self.incoming).end(End::Closed);
        locked(&self.outgoing).end(End::Closed);
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let mut flow = locked(&this.incoming);
            if flow.end == Some(End::Reset) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let now = this.clock.elapsed();
            let has_ended = flow.end.is_some();
            match flow.pieces.front_mut() {
                Some((arrives, piece)) if *arrives <= now => {
                    let room = buffer.remaining().min(piece.len());
                    let some = this.dice.some_of(room, 100);
                    let taken: Vec<u8> = piece.drain(..some).collect();
                    buffer.put_slice(&taken);
                    if piece.is_empty() {
                        flow.pieces.pop_front();
                    }
                    return Poll::Ready(Ok(()));
                }
                Some((arrives, _)) => {
                    let left = arrives.saturating_sub(now);
                    flow.reader = Some(context.waker().clone());
                    drop(flow);
                    let clock = this.clock.clone();
                    let mut alarm: Pin<Box<dyn Future<Output = ()> + Send>> =
                        Box::pin(async move { clock.sleep(left).await });
                    if alarm.as_mut().poll(context).is_pending() {
                        this.alarm = Some(alarm);
                        return Poll::Pending;
                    }
                }
                None if has_ended => return Poll::Ready(Ok(())),
                None => {
                    flow.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut flow = locked(&this.outgoing);
        match flow.end {
            Some(End::Reset) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(End::Closed) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            None => {}
        }
        let some = this.dice.some_of(bytes.len(), 50);
        if let Some(tap) = &this.tap {
            tap(&bytes[..some]);
        }
        let late = this.dice.time(this.latency);
        let arrives = (this.clock.elapsed() + late).max(this.last_arrival);
        this.last_arrival = arrives;
        flow.pieces
            .push_back((arrives, bytes[..some].iter().copied().collect()));
        if let Some(reader) = flow.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(some))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        locked(&self.outgoing).end(End::Closed);
        Poll::Ready(Ok(()))
    }
}

fn locked(flow: &SharedFlow) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

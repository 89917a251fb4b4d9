//! Listening, serving and stopping, on threads of the gate's own.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::answer::Dropped;
use super::service::Service;
use crate::Error;

/// How long a graceful stop waits for requests in hand.
const GRACE: Duration = Duration::from_secs(5);

/// How far a gate has been told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    Finish,
    Cut,
}

#[derive(Debug)]
pub(super) struct Server {
    runtime: Option<Runtime>,
    order: watch::Sender<Order>,
    open: Arc<OpenSockets>,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn start(
        listen: SocketAddr,
        threads: usize,
        service: Arc<Service>,
    ) -> Result<Self, Error> {
        let unbound = |source| Error::GateUnbound {
            address: listen,
            source,
        };
        // Bound in this thread, so that it listens when `start` returns; and before there is a
        // runtime, which a caller's async thread may not drop.
        let listener = std::net::TcpListener::bind(listen).map_err(unbound)?;
        listener.set_nonblocking(true).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        if threads > 0 {
            builder.worker_threads(threads);
        }
        builder.thread_name("stand-in-gate").enable_all();
        let runtime = builder.build().map_err(unbound)?;
        let (order, orders) = watch::channel(Order::Serve);
        let open = Arc::new(OpenSockets::default());
        runtime.spawn(accept(open.open(), listener, service, orders));
        Ok(Self {
            runtime: Some(runtime),
            order,
            open,
            address,
        })
    }

    /// Waits until no connection is open any more; false if that takes too long.
    pub(super) fn wait_until_alone(&self, at_most: Duration) -> bool {
        // The listener is one.
        self.open.wait_until(1, at_most)
    }

    pub(super) fn stop(&mut self, gracefully: bool) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        if gracefully {
            self.order.send_replace(Order::Finish);
            self.open.wait_until(0, GRACE);
        }
        self.order.send_replace(Order::Cut);
        self.open.wait_until(0, GRACE);
        // Not `drop`, which may not be called by a test's own async thread.
        runtime.shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// `open` comes first because arguments are dropped last to first.
async fn accept(
    open: OpenSocket,
    listener: std::net::TcpListener,
    service: Arc<Service>,
    mut orders: watch::Receiver<Order>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the stand-in gate cannot listen"),
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = orders.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                service.note_connection();
                let service = Arc::clone(&service);
                tokio::spawn(serve(open.another(), stream, service, orders.clone()));
            }
            // Out of sockets, most likely: those in use must be given time to close.
            Err(error) => {
                tracing::warn!(%error, "the stand-in gate could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(
    _open: OpenSocket,
    stream: TcpStream,
    service: Arc<Service>,
    mut orders: watch::Receiver<Order>,
) {
    // Without it an answer waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let handler = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), handler);
    let ended = loop {
        tokio::select! {
            // A client that left, or a fault that was asked for.
            ended = &mut connection => break ended,
            _ = orders.changed() => match *orders.borrow_and_update() {
                Order::Serve => {}
                Order::Finish => std::pin::Pin::new(&mut connection).graceful_shutdown(),
                Order::Cut => return,
            },
        }
    };
    let fault = ended.as_ref().err().and_then(std::error::Error::source);
    if fault.and_then(<dyn std::error::Error>::downcast_ref) == Some(&Dropped::Reset) {
        // Closed without lingering, a connection is reset.
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// Counts open sockets, so that a gate that has stopped has let go of its address.
#[derive(Debug, Default)]
struct OpenSockets {
    count: Mutex<usize>,
    fewer: Condvar,
}

impl OpenSockets {
    fn open(self: &Arc<Self>) -> OpenSocket {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        OpenSocket(Arc::clone(self))
    }

    fn wait_until(&self, left: usize, at_most: Duration) -> bool {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .fewer
            .wait_timeout_while(count, at_most, |count| *count > left);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count <= left
    }
}

/// One open socket; dropped after it.
#[derive(Debug)]
struct OpenSocket(Arc<OpenSockets>);

impl OpenSocket {
    fn another(&self) -> Self {
        self.0.open()
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

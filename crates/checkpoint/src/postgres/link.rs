//! The link to the server: a pool of connections, made anew with backoff when they break.
//!
//! Connections are driven by a small runtime of their own, so that a renewal goes out even while
//! the stream's runtime is busy.
//!
//! **Retry policy.** An operation that ends in `CHECKPOINT_UNAVAILABLE` (no connection, a broken
//! or silent one, a server starting up or shutting down, a lock timeout) is done again on another
//! connection after 20 ms, then twice that and so on up to 1 s, until 5 s have passed. Every
//! operation begins by reading what is there, so one that had been committed is found, not
//! repeated. What lasts longer is for the caller to wait out.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
};
use model::{Backoff, Cause, Clock as _, SharedClock};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode as WireMode;
use tokio_postgres::{Client, Config};

use super::dsn::{Dsn, SslMode};
use super::fault::{failed, says_no_tls};
use super::tls::{Connector, connector};
use crate::error::{Error, config_invalid, unavailable};

/// Connections kept for saves and looks; a lease has one of its own besides.
const POOL_SIZE: usize = 4;
/// One try of one operation, from the first byte to the answer.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an operation goes on trying.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSES: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));

/// What a session sets for itself, where the server knows the setting. Each limit is below
/// [`TRY_TIMEOUT`], so that the server ends what the client gives up, and frees its locks: a
/// session that waits for a lock, one whose producer was stopped in the middle of a save, one
/// whose connection is half open. A lease's own connection is idle on purpose.
const SESSION_LIMITS: &str = "
SELECT set_config(name, limits.setting, false) FROM (VALUES
    ('lock_timeout', '5s'), ('statement_timeout', '8s'),
    ('idle_in_transaction_session_timeout', '9s'), ('idle_session_timeout', '0'),
    ('tcp_keepalives_idle', '10'), ('tcp_keepalives_interval', '5'),
    ('tcp_keepalives_count', '3')) AS limits (name, setting)
JOIN pg_settings USING (name)";

/// The link to one server.
pub(super) struct Link {
    pub(super) dsn: Arc<Dsn>,
    pool: Pool,
    dialer: Dialer,
    clock: SharedClock,
    /// Taken on drop, which must not wait for it.
    runtime: Option<Runtime>,
}

/// How connections are made.
#[derive(Clone)]
struct Dialer {
    dsn: Arc<Dsn>,
    /// The newest that could be made.
    tls: Arc<Mutex<Connector>>,
    driver: Handle,
}

impl Link {
    /// Makes ready; connects to nothing yet. Tries are timed by `clock`.
    ///
    /// # Errors
    /// `CHECKPOINT_CONFIG_INVALID`, `CHECKPOINT_UNAVAILABLE` if the machine gives no thread.
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver's tasks need a runtime, whatever the stream's is busy with"
    )]
    pub(super) fn new(dsn: &str, clock: SharedClock) -> Result<Self, Error> {
        let dsn = Dsn::parse(dsn).map_err(|fault| config_invalid("postgres", fault))?;
        let tls = connector(dsn.ssl_mode, dsn.ssl_root_cert.as_deref())
            .map_err(|no| because(config_invalid(dsn.to_string(), no.fault), no.source))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("wsp-postgres")
            .enable_all()
            .build()
            .map_err(|error| {
                unavailable(
                    "start the thread of the connections",
                    dsn.to_string(),
                    "Free some memory or threads on this machine",
                )
                .because(error)
            })?;
        let dsn = Arc::new(dsn);
        let dialer = Dialer {
            dsn: Arc::clone(&dsn),
            tls: Arc::new(Mutex::new(tls)),
            driver: runtime.handle().clone(),
        };
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(dsn.config.clone(), dialer.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(POOL_SIZE)
            .build()
            .map_err(|error| {
                let fault = "its connection pool cannot be made";
                config_invalid(dsn.to_string(), fault).because(error)
            })?;
        Ok(Self {
            dsn,
            pool,
            dialer,
            clock,
            runtime: Some(runtime),
        })
    }

    pub(super) fn place(&self) -> String {
        self.dsn.to_string()
    }

    /// A connection outside of the pool, for a lease to live by.
    pub(super) async fn connect(&self, operation: &'static str) -> Result<Client, Error> {
        let dialled = self.dialer.dial().await;
        let (client, _) = dialled.map_err(|error| failed(operation, &self.place(), error))?;
        Ok(client)
    }

    /// Runs `work` on a pooled connection, under the retry policy of this module.
    pub(super) async fn run<T, F, Fut>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        F: Fn(Object) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        self.persist(operation, || async {
            let client = self.pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => failed(operation, &self.place(), error),
                other => self.silent(operation, other),
            })?;
            work(client).await
        })
        .await
    }

    /// Repeats `work` under the retry policy of this module.
    pub(super) async fn persist<T, F, Fut>(
        &self,
        operation: &'static str,
        work: F,
    ) -> Result<T, Error>
    where
        F: Fn() -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, Error>> + Send,
        T: Send,
    {
        let mut failed = 0;
        let started = self.clock.now();
        loop {
            let outcome = match self.clock.timeout(TRY_TIMEOUT, work()).await {
                Ok(outcome) => outcome,
                Err(elapsed) => {
                    // A connection that fell silent went back to the pool: use none of them again.
                    self.pool.retain(|_, _| false);
                    Err(self.silent(operation, elapsed))
                }
            };
            failed += 1;
            let pause = PAUSES.longest(failed);
            match outcome {
                Err(error)
                    if error.is_retryable() && self.clock.since(started) + pause < PATIENCE =>
                {
                    tracing::debug!(%error, ?pause, "trying Postgres again");
                }
                outcome => return outcome,
            }
            self.clock.sleep(pause).await;
        }
    }

    fn silent(&self, operation: &'static str, source: impl Into<Cause>) -> Error {
        let advice = "The server does not answer: look after it and the network";
        unavailable(operation, self.place(), advice).because(source)
    }
}

/// The failure with its cause, if that is known.
fn because(failure: Error, cause: Option<Cause>) -> Error {
    match cause {
        Some(cause) => failure.because(cause),
        None => failure,
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("dsn", &self.dsn)
            .finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Dialled = (Client, JoinHandle<()>);

impl Dialer {
    /// Connects as the mode says: in the order that libpq tries.
    async fn dial(&self) -> Result<Dialled, tokio_postgres::Error> {
        let (first, second) = match self.dsn.ssl_mode {
            SslMode::Disable => (WireMode::Disable, None),
            SslMode::Allow => (WireMode::Disable, Some(WireMode::Require)),
            SslMode::Prefer => (WireMode::Require, Some(WireMode::Disable)),
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (WireMode::Require, None),
        };
        match (self.dial_by(first).await, second) {
            (Err(error), Some(second)) => match self.dial_by(second).await {
                // What the server answered tells more than how the first try failed, and where
                // that failed for want of TLS, the connection without it was just lost.
                Err(other) if other.as_db_error().is_none() && !says_no_tls(&error) => Err(error),
                outcome => outcome,
            },
            (outcome, _) => outcome,
        }
    }

    /// Whom to trust by now: certificates are renewed while a stream runs. A file that cannot be
    /// read just then leaves the trust as it was.
    fn trust(&self) -> Connector {
        let mut newest = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        match connector(self.dsn.ssl_mode, self.dsn.ssl_root_cert.as_deref()) {
            Ok(read) => *newest = read,
            Err(no) => tracing::warn!(
                fault = no.fault,
                "certificate authorities cannot be read again; those of before are used"
            ),
        }
        newest.clone()
    }

    async fn dial_by(&self, mode: WireMode) -> Result<Dialled, tokio_postgres::Error> {
        let mut config = self.dsn.config.clone();
        config.ssl_mode(mode);
        let tls = self.trust();
        let connecting = Entered {
            runtime: self.driver.clone(),
            work: Box::pin(async move { config.connect(tls).await }),
        };
        let (client, connection) = connecting.await?;
        let task = self.driver.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a Postgres connection ended");
            }
        });
        client.batch_execute(SESSION_LIMITS).await?;
        Ok((client, task))
    }
}

impl Connect for Dialer {
    fn connect(
        &self,
        _config: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<Dialled, tokio_postgres::Error>> + Send + '_>> {
        Box::pin(self.dial())
    }
}

/// A future whose sockets and timers belong to `runtime`, whoever polls it.
struct Entered<T> {
    runtime: Handle,
    work: Pin<Box<dyn Future<Output = T> + Send>>,
}

impl<T> Future for Entered<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let _entered = this.runtime.enter();
        this.work.as_mut().poll(context)
    }
}

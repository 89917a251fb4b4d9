//! A real S3 server over a temporary folder, on its own thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::aws::AmazonS3Builder;
use object_store::client::ClientOptions;
use object_store::{ObjectStore, RetryConfig};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};

const BUCKET: &str = "checkpoints";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// Serves one bucket until it is dropped.
pub(crate) struct S3Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl S3Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, files) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of the bucket.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        client(&self.endpoint())
    }
}

/// A client of the bucket behind an endpoint, that repeats nothing by itself.
pub(crate) fn client(endpoint: &str) -> Arc<dyn ObjectStore> {
    let store = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        })
        .build();
    Arc::new(store.unwrap())
}

/// One request at a time: the server checks a condition and writes in two steps, which S3 does in
/// one.
async fn serve(listener: TcpListener, files: s3s_fs::FileSystem) {
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = service.build();
    let turn = Arc::new(Mutex::new(()));
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (service, turn) = (service.clone(), Arc::clone(&turn));
        let one_by_one = service_fn(move |request: Request<Incoming>| {
            let (service, turn) = (service.clone(), Arc::clone(&turn));
            async move {
                let _turn = turn.lock().await;
                Service::call(&service, request).await
            }
        });
        tokio::spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            let _ = http
                .serve_connection(TokioIo::new(socket), one_by_one)
                .await;
        });
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

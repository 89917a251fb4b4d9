//! A real S3 server over a temporary folder, on its own thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::TryStreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::ClientOptions;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};
use oracle_store::{ObjectStoreConfig, ReasonCode, RunReceipt, WorldStore, object_store_at};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::world::{receipt_json, root_at};

pub const BUCKET: &str = "worlds";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// Serves one bucket until it is dropped.
pub struct S3Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl S3Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();

        let (stop, mut stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (socket, _) = tokio::select! {
                        accepted = listener.accept() => accepted.unwrap(),
                        _ = &mut stopped => break,
                    };
                    let service = service.clone();
                    tokio::spawn(async move {
                        let http = Builder::new(TokioExecutor::new());
                        let _ = http.serve_connection(TokioIo::new(socket), service).await;
                    });
                }
            });
        });
        let address = address.recv().unwrap();
        Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
            _folder: folder,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of the server's bucket, or of another that does not exist.
    pub fn client(&self, bucket: &str, secret: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(KEY)
            .with_secret_access_key(secret)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap()
    }

    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.client(BUCKET, SECRET))
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

/// Set in the process that [`the_aws_environment_opens_a_bucket`] starts.
const ENDPOINT_FOR_CHILD: &str = "ORACLE_STORE_TEST_ENDPOINT";

/// Credentials come by the environment only, and that is set for a whole process: so this
/// test runs itself once more in one of its own.
#[tokio::test]
async fn the_aws_environment_opens_a_bucket() {
    if let Ok(endpoint) = std::env::var(ENDPOINT_FOR_CHILD) {
        let config = ObjectStoreConfig {
            endpoint: Some(endpoint),
            region: Some("eu-west-1".to_owned()),
            path_style: Some(true),
        };
        let root = root_at(&format!("s3://{BUCKET}/run"));
        let store = WorldStore::open(root.clone(), &config).unwrap();
        let receipt = RunReceipt::load(&store).await.unwrap();
        assert_eq!(receipt.seed, 7);

        let (objects, prefix) = object_store_at(root.location(), &config).unwrap();
        let listed: Vec<_> = objects.list(Some(&prefix)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        return;
    }
    let server = S3Server::start();
    let path = object_store::path::Path::from("run/run_receipt.json");
    server
        .store()
        .put(&path, receipt_json().to_string().into())
        .await
        .unwrap();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "s3_server::the_aws_environment_opens_a_bucket",
            "--nocapture",
        ])
        .env(ENDPOINT_FOR_CHILD, server.endpoint())
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && output.contains("1 passed"),
        "{output}"
    );
}

#[test]
fn an_endpoint_that_is_no_address_is_refused_with_its_root() {
    for endpoint in ["localhost:9000", "ftp://host", "https://"] {
        let config = ObjectStoreConfig {
            endpoint: Some(endpoint.into()),
            ..Default::default()
        };
        let error = WorldStore::open(root_at("s3://b/run"), &config).unwrap_err();
        assert_eq!(error.code(), ReasonCode::ObjectStoreInvalid, "{endpoint}");
        assert!(error.to_string().contains("s3://b/run"), "{error}");
    }
}

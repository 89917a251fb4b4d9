//! A real S3 server on loopback, seeded by PUT, with weather on demand.
//!
//! ```text
//! wsp-cli ──► socket ──► request log ──► weather ──► s3s ──► a temporary folder
//!                                          │ late, cut off, cut short, 500, 503
//! ```
//! What befalls a request is drawn from the weather's seed, the request, and how often
//! it was made before: not from its place among the others. So one seed gives the same
//! faults however requests are interleaved.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::RANGE;
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::ClientOptions;
use object_store::{ObjectStore, ObjectStoreExt};
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The one bucket that there is.
pub const BUCKET: &str = "worlds";
/// Who may use it.
const ACCESS_KEY: &str = "system-tests";
/// What shows it.
const SECRET_KEY: &str = "known-to-system-tests-alone";

/// s3s-fs keeps what it knows of an object under the object's key in base64, as one file
/// name, so that longer keys cannot be put. Those go into its folder directly, where it
/// takes the ETag from the bytes.
const LONGEST_PUT_KEY: usize = 160;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// One request as it reached the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Request {
    /// `GET`, `HEAD`, `PUT`, …
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// The `Range` header.
    pub range: Option<String>,
}

/// How often requests fail, and by which draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weather {
    /// Another seed, other faults.
    pub seed: u64,
    /// One request in so many is struck; 1 strikes all, 0 none.
    pub one_in: u64,
}

/// What may befall a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mishap {
    /// Answered 30 ms later.
    Late,
    /// The connection is closed without an answer.
    Reset,
    /// Half of the body, then the connection is closed.
    CutBody,
    /// 500 `InternalError`.
    InternalError,
    /// 503 `SlowDown`.
    SlowDown,
}

impl Mishap {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Late,
        Self::Reset,
        Self::CutBody,
        Self::InternalError,
        Self::SlowDown,
    ];
}

impl Weather {
    /// What befalls a request that was made `before` times already.
    fn draw(self, request: &S3Request, before: u32) -> Option<Mishap> {
        let mut hasher = DefaultHasher::new();
        (
            self.seed,
            request.method.as_str(),
            &request.target,
            &request.range,
            before,
        )
            .hash(&mut hasher);
        let draw = hasher.finish();
        let struck = self.one_in > 0 && draw.is_multiple_of(self.one_in);
        struck.then(|| Mishap::ALL[(draw >> 32) as usize % Mishap::ALL.len()])
    }
}

#[derive(Default)]
struct Log {
    weather: Option<Weather>,
    /// Whether every request is closed without an answer.
    is_away: bool,
    requests: Vec<(Instant, S3Request)>,
    made: HashMap<S3Request, u32>,
    struck: HashMap<Mishap, u32>,
}

/// A server of one bucket, until it is dropped.
pub struct Bucket {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    folder: TempDir,
}

impl Bucket {
    /// Starts a server of an empty bucket.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("the bucket's folder");
        let mut service = S3ServiceBuilder::new(
            s3s_fs::FileSystem::new(folder.path()).expect("the bucket's folder exists"),
        );
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let log = Arc::default();
        let server = Server {
            service: service.build(),
            log: Arc::clone(&log),
            put: Arc::default(),
        };
        runtime.spawn(server.listen(listener));
        Self {
            runtime,
            address,
            log,
            folder,
        }
    }

    /// The URL of the server.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the server keeps the bucket's objects, each as a file by its key.
    pub fn place(&self) -> PathBuf {
        self.folder.path().join(BUCKET)
    }

    /// The profile's `wiring.object_store`.
    pub fn wiring(&self) -> String {
        json!({"endpoint": self.endpoint(), "region": "us-east-1", "path_style": true}).to_string()
    }

    /// The variables that carry the credentials.
    pub fn environment() -> [(&'static str, &'static str); 2] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ]
    }

    /// Makes the objects below a prefix those of a folder: puts what is there, deletes
    /// what is not. Symlinks are passed over: a bucket has none.
    pub fn mirror(&self, folder: &Path, prefix: &str) {
        let files = files_under(folder);
        for key in self.keys(prefix) {
            let name = key[prefix.len()..].trim_start_matches('/');
            if files.iter().all(|(kept, _)| kept != name) {
                self.remove(&key);
            }
        }
        for (name, path) in &files {
            let bytes = std::fs::read(path).expect("a file of the world");
            self.put(&format!("{prefix}/{name}"), bytes);
        }
        self.forget();
    }

    /// Puts one object.
    pub fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        if name.len() > LONGEST_PUT_KEY {
            let path = self.folder.path().join(BUCKET).join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
            return std::fs::write(path, bytes).expect("the object's file");
        }
        let client = self.client();
        let put = async { client.put(&key(name), bytes.into()).await };
        self.runtime.block_on(put).expect("a PUT");
    }

    fn remove(&self, name: &str) {
        if name.len() > LONGEST_PUT_KEY {
            let path = self.folder.path().join(BUCKET).join(name);
            return std::fs::remove_file(path).expect("the object's file");
        }
        let client = self.client();
        let delete = async { client.delete(&key(name)).await };
        self.runtime.block_on(delete).expect("a DELETE");
    }

    /// One object's bytes.
    pub fn get(&self, name: &str) -> Bytes {
        let client = self.client();
        let get = async { client.get(&key(name)).await?.bytes().await };
        self.runtime.block_on(get).expect("a GET")
    }

    /// Every key below a prefix, in order.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let client = self.client();
        let listed = client.list(Some(&key(prefix)));
        let listed = listed.map_ok(|object| object.location.to_string());
        let listed = self.runtime.block_on(listed.try_collect::<Vec<_>>());
        let mut keys = listed.expect("the bucket is listed");
        keys.sort();
        keys
    }

    /// Sets what befalls requests from now on.
    pub fn set_weather(&self, weather: Option<Weather>) {
        self.log().weather = weather;
    }

    /// Has every request closed without an answer, or answered again.
    pub fn set_away(&self, is_away: bool) {
        self.log().is_away = is_away;
    }

    /// Every request since the bucket was last filled, and when it came.
    pub fn requests(&self) -> Vec<(Instant, S3Request)> {
        self.log().requests.clone()
    }

    /// How many requests each mishap struck.
    pub fn struck(&self) -> HashMap<Mishap, u32> {
        self.log().struck.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        let mut log = self.log();
        *log = Log {
            weather: log.weather,
            is_away: log.is_away,
            ..Log::default()
        };
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the bucket.
    pub fn client(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .build()
            .expect("a client")
    }
}

#[derive(Clone)]
struct Server {
    service: S3Service,
    log: Arc<Mutex<Log>>,
    /// One PUT at a time: s3s-fs checks a condition and writes in two steps, which S3
    /// does in one.
    put: Arc<tokio::sync::Mutex<()>>,
}

impl Server {
    async fn listen(self, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            let server = self.clone();
            let answer = service_fn(move |request| server.clone().answer(request));
            tokio::spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(socket), answer).await;
            });
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Fault> {
        if !is_in_the_bucket(&request) {
            return error(404, "NoSuchBucket");
        }
        let mishap = self.note(&request);
        match mishap {
            Some(Mishap::Late) => tokio::time::sleep(Duration::from_millis(30)).await,
            Some(Mishap::Reset) => return Err("the connection is reset".into()),
            Some(Mishap::InternalError) => return error(500, "InternalError"),
            Some(Mishap::SlowDown) => return error(503, "SlowDown"),
            Some(Mishap::CutBody) | None => {}
        }
        let _alone = match *request.method() {
            Method::PUT => Some(self.put.lock().await),
            _ => None,
        };
        let answer = Service::call(&self.service, request).await?;
        if mishap == Some(Mishap::CutBody) {
            return cut(answer).await;
        }
        Ok(answer)
    }

    fn note(&self, request: &Request<Incoming>) -> Option<Mishap> {
        let range = request.headers().get(RANGE);
        let request = S3Request {
            method: request.method().clone(),
            target: request.uri().to_string(),
            range: range.and_then(|range| Some(range.to_str().ok()?.to_owned())),
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let made = log.made.entry(request.clone()).or_default();
        let before = std::mem::replace(made, *made + 1);
        let drawn = log
            .weather
            .and_then(|weather| weather.draw(&request, before));
        let mishap = if log.is_away {
            Some(Mishap::Reset)
        } else {
            drawn
        };
        log.requests.push((Instant::now(), request));
        if let Some(mishap) = mishap {
            *log.struck.entry(mishap).or_default() += 1;
        }
        mishap
    }
}

/// s3s-fs says of an object in a bucket that is not there what it says of any: no such
/// key. S3 says what is missing.
fn is_in_the_bucket(request: &Request<Incoming>) -> bool {
    let bucket = request.uri().path().split('/').nth(1);
    bucket == Some(BUCKET)
}

fn error(status: u16, code: &str) -> Result<Response<Body>, Fault> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    Ok(Response::builder().status(status).body(Body::from(body))?)
}

/// The answer with half of its body, under the length of the whole.
async fn cut(answer: Response<Body>) -> Result<Response<Body>, Fault> {
    let (head, body) = answer.into_parts();
    let whole = body.collect().await?.to_bytes();
    let half = Ok(Frame::data(whole.slice(..whole.len() / 2)));
    let rest = Err(Fault::from("the body is cut short"));
    let body = StreamBody::new(futures::stream::iter([half, rest]));
    Ok(Response::from_parts(head, Body::http_body_unsync(body)))
}

fn key(name: &str) -> object_store::path::Path {
    object_store::path::Path::parse(name).expect("a key")
}

/// The files of a folder by their names relative to it.
fn files_under(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        let entries = std::fs::read_dir(&inner).into_iter().flatten();
        for entry in entries.map(|entry| entry.expect("an entry of a folder")) {
            let (path, kind) = (entry.path(), entry.file_type().expect("a file type"));
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(folder).expect("below the folder");
                files.push((name.to_str().expect("a UTF-8 name").to_owned(), path));
            }
        }
    }
    files
}

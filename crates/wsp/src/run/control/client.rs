//! The other end of a control socket: finding streams, and asking them.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use super::protocol::{Request, check_version, version_of};
use super::short_path::ShortPath;
use super::socket::{folder, pid_of};

/// Longer than a stream takes to obey, wherever it is waiting.
const PATIENCE: Duration = Duration::from_mins(1);
/// An answer is a snapshot: no longer than this.
const LONGEST_ANSWER: u64 = 1 << 20;

/// A stream that can be steered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The id of the process that streams.
    pub pid: u32,
    /// The platform run of the stream.
    pub platform_run_id: String,
    /// The path of the control socket.
    pub socket: PathBuf,
}

/// The streams that can be steered, of one platform run or of all under a runs root.
/// Sockets that killed streams left behind are removed on the way.
///
/// # Errors
/// The runs root is there and cannot be listed.
pub fn find(runs_root: &Path, platform_run_id: Option<&str>) -> io::Result<Vec<Found>> {
    let runs = match platform_run_id {
        Some(run) => vec![run.to_owned()],
        None => names(runs_root)?,
    };
    let mut found = Vec::new();
    for run in runs {
        let folder = folder(&runs_root.join(&run));
        // A run without sockets, or a file that is no run.
        for name in names(&folder).unwrap_or_default() {
            let Some(pid) = pid_of(&name) else { continue };
            let socket = folder.join(&name);
            match connect(&socket) {
                Ok(_) => found.push(Found {
                    pid,
                    platform_run_id: run.clone(),
                    socket,
                }),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    // Nobody listens any more; who may not remove it leaves it.
                    let _ = std::fs::remove_file(&socket);
                }
                Err(_) => {}
            }
        }
    }
    Ok(found)
}

/// The lines that a stream answers to one request, as they come.
#[derive(Debug)]
pub struct Lines(tokio::io::BufReader<tokio::net::UnixStream>);

impl Lines {
    /// The next line, without its line feed; `None` once the stream has ended or let the caller go.
    /// To drop the future may lose a part of a line.
    ///
    /// # Errors
    /// The connection breaks, a line is longer than 1 MiB, or it is no answer of a stream of this
    /// version of the protocol.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.0).take(LONGEST_ANSWER);
        bounded.read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => {
                check_answer(&line)?;
                String::from_utf8(line).map(Some).map_err(io::Error::other)
            }
            Some(_) if line.len() as u64 + 1 >= LONGEST_ANSWER => Err(io::Error::other(
                "the stream answers a line of more than 1 MiB",
            )),
            // Nothing, or what is cut off in the middle: the stream has ended.
            _ => Ok(None),
        }
    }
}

/// Asks the stream behind a socket, and answers with the lines that come back: of a watch and of a
/// tap, many. It waits for no line. It is called within a tokio runtime.
///
/// # Errors
/// Nobody listens there.
pub async fn ask(socket: &Path, request: &Request) -> io::Result<Lines> {
    let short = ShortPath::of(socket)?;
    let mut stream = tokio::net::UnixStream::connect(short.as_path()).await?;
    stream.write_all(request.to_line().as_bytes()).await?;
    Ok(Lines(tokio::io::BufReader::new(stream)))
}

fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(ShortPath::of(socket)?.as_path())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Asks the stream behind a socket, and waits for its answer: an object with `applied`,
/// `refused` and `stream`.
///
/// # Errors
/// Nobody listens there, or what comes back is no answer.
pub fn send(socket: &Path, request: &Request) -> io::Result<Value> {
    let mut stream = connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.to_line().as_bytes())?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST_ANSWER)).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        let went = "the stream ended before it answered";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, went));
    }
    check_answer(&line)?;
    Ok(serde_json::from_slice(&line)?)
}

/// Refuses a line that no stream of this version of the protocol says.
fn check_answer(line: &[u8]) -> io::Result<()> {
    let version = version_of(line).map_err(|error| {
        let what = format!("this is no answer of a stream: {error}");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    check_version(version).map_err(|why| io::Error::new(io::ErrorKind::Unsupported, why))
}

//! What a stream says to one client: answers, snapshots again and again, copies of events.

use std::io;
use std::time::Duration;

use model::{Clock as _, SharedClock};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::answers::{Answer, Snapshot, TapCopy, TapEnd, Watched};
use super::protocol::{LONGEST_REQUEST, Request, WatchInterval};
use replay::{Act, Asker, OnBehalfOf, Progress, Refused, Steering, TapSettings};

/// How long a client may take to send a request, or to take an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What clients are served from.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) steering: Steering,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) clock: SharedClock,
}

/// The two directions of a connection.
struct Client {
    requests: BufReader<OwnedReadHalf>,
    answers: OwnedWriteHalf,
    /// Who the client is, as far as the system knows.
    by: String,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        let by = match stream.peer_cred() {
            Ok(peer) => match peer.pid() {
                Some(pid) => format!("uid {} pid {pid}", peer.uid()),
                None => format!("uid {}", peer.uid()),
            },
            Err(_) => "unknown".to_owned(),
        };
        let (requests, answers) = stream.into_split();
        Self {
            requests: BufReader::new(requests),
            answers,
            by,
        }
    }

    fn asks_for(&self, name: Option<OnBehalfOf>) -> Asker {
        Asker::from(self.by.clone()).for_another(name)
    }

    /// Resolves when the client says anything more, or has gone.
    async fn stirs(requests: &mut BufReader<OwnedReadHalf>) {
        let _ = requests.fill_buf().await;
    }
}

impl Served {
    /// Answers one request after the other, until the client goes or makes no sense.
    pub(super) async fn converse(&self, stream: UnixStream) -> io::Result<()> {
        let mut client = Client::new(stream);
        loop {
            let Some(request) = self.read(&mut client).await? else {
                return Ok(());
            };
            let answer = match request {
                Ok(Request::Status) => Answer::new(None, self.snapshot()),
                Ok(Request::Watch(every)) => return self.watched(&mut client, every).await,
                Ok(Request::Act {
                    act: Act::Tap(settings),
                    on_behalf_of,
                }) => {
                    let asker = client.asks_for(on_behalf_of);
                    self.tapped(&mut client, settings, asker).await?;
                    continue;
                }
                Ok(Request::Act { act, on_behalf_of }) => {
                    let done = self.steering.act(act, client.asks_for(on_behalf_of)).await;
                    self.answer(done)
                }
                Err(fault) => {
                    let answer = Answer::new(Some(fault), self.snapshot());
                    return self.write(&mut client, &answer).await;
                }
            };
            self.write(&mut client, &answer).await?;
        }
    }

    /// The next request; `None` once the client has gone.
    async fn read(&self, client: &mut Client) -> io::Result<Option<Result<Request, String>>> {
        let mut line = Vec::new();
        let mut bounded = (&mut client.requests).take(LONGEST_REQUEST);
        let read = self
            .clock
            .timeout(PATIENCE, bounded.read_until(b'\n', &mut line));
        if read.await.map_err(io::Error::other)?? == 0 {
            return Ok(None);
        }
        Ok(Some(if line.ends_with(b"\n") {
            Request::parse(&line)
        } else {
            Err("a request is one line of at most 4,096 bytes".to_owned())
        }))
    }

    async fn write(&self, client: &mut Client, answer: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        let writing = client.answers.write_all(&line);
        let written = self.clock.timeout(PATIENCE, writing);
        written.await.map_err(io::Error::other)?
    }

    fn answer(&self, done: Result<Progress, Refused>) -> Answer {
        match done {
            Ok(progress) => Answer::new(None, Snapshot::of(&progress, progress.state)),
            Err(refused) => Answer::new(Some(refused.to_string()), self.snapshot()),
        }
    }

    /// Sends a snapshot now and every so often, until the client stirs. Those whose time passes
    /// while the client takes an earlier one are left out and counted.
    async fn watched(&self, client: &mut Client, every: WatchInterval) -> io::Result<()> {
        let every = every.get();
        let began = self.clock.now();
        let (mut sent, mut dropped, mut moment) = (0, 0, 0);
        loop {
            sent += 1;
            let line = Watched::new(sent, dropped, self.snapshot());
            self.write(client, &line).await?;
            let passed = self.clock.since(began).as_millis() / every.as_millis();
            let next = passed as u64 + 1;
            dropped += next - moment - 1;
            moment = next;
            let due = every.saturating_mul(u32::try_from(moment).unwrap_or(u32::MAX));
            let rest = due.saturating_sub(self.clock.since(began));
            tokio::select! {
                biased;
                () = Client::stirs(&mut client.requests) => return Ok(()),
                () = self.clock.sleep(rest) => {}
            }
        }
    }

    /// Sends copies of the next events, until there are no more or the client goes.
    async fn tapped(
        &self,
        client: &mut Client,
        settings: TapSettings,
        asker: Asker,
    ) -> io::Result<()> {
        let (mut tapped, progress) = match self.steering.tap(settings, asker).await {
            Ok(opened) => opened,
            Err(refused) => return self.write(client, &self.answer(Err(refused))).await,
        };
        self.write(client, &self.answer(Ok(progress))).await?;
        let mut copies = 0;
        loop {
            let event = tokio::select! {
                biased;
                event = tapped.next() => event,
                () = Client::stirs(&mut client.requests) => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            let Some(event) = event else { break };
            copies += 1;
            let copy = TapCopy::new(event, &self.progress.borrow());
            self.write(client, &copy).await?;
        }
        let end = TapEnd::new(copies, tapped.dropped());
        self.write(client, &end).await
    }

    /// With the meters of this moment: the progress was told a fraction of a second ago.
    fn snapshot(&self) -> Snapshot {
        let mut progress = self.progress.borrow().clone();
        progress.meters = self.steering.meters().unwrap_or(progress.meters);
        Snapshot::of(&progress, self.steering.state())
    }
}

//! Bytes that have come over a connection and were not taken yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Room to begin with: for any usual answer.
const ROOM: usize = 4 * 1024;
/// The most that may wait to be taken: more than the head of any answer.
const MOST: usize = 64 * 1024;

/// A buffer that is filled at one end and taken from at the other.
#[derive(Debug)]
pub(crate) struct Received {
    room: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            room: vec![0; ROOM],
            begin: 0,
            end: 0,
        }
    }
}

impl Received {
    /// What has come and was not taken.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.room[self.begin..self.end]
    }

    /// Whether all was taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Takes so many of the bytes.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.begin += bytes;
        if self.is_empty() {
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Reads what there is; how many bytes, none at the end of the stream.
    ///
    /// # Errors
    /// The stream's; `InvalidData` if too much waits to be taken.
    pub(crate) fn poll_more(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.room.len() {
            self.make_room()?;
        }
        let mut buffer = ReadBuf::new(&mut self.room[self.end..]);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        let more = buffer.filled().len();
        self.end += more;
        Poll::Ready(Ok(more))
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.begin > 0 {
            self.room.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        } else if self.room.len() < MOST {
            self.room.resize(2 * self.room.len(), 0);
        } else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more than any answer's head is long",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_fn;

    use super::*;

    async fn more(received: &mut Received, mut stream: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| received.poll_more(&mut stream, cx)).await
    }

    #[tokio::test]
    async fn what_was_not_taken_stays_in_front_of_what_comes() {
        let mut received = Received::default();
        assert_eq!(more(&mut received, b"abc").await.unwrap(), 3);
        received.take(2);
        let much = vec![b'x'; ROOM];
        while received.bytes().len() < ROOM {
            assert_ne!(more(&mut received, &much).await.unwrap(), 0);
        }
        assert!(received.bytes().starts_with(b"cxx"));
        received.take(received.bytes().len());
        assert!(received.is_empty());
        assert_eq!(more(&mut received, b"").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn it_never_holds_more_than_the_most() {
        let mut received = Received::default();
        let much = vec![b'x'; MOST];
        let error = loop {
            if let Err(error) = more(&mut received, &much).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(received.bytes().len(), MOST);
    }
}

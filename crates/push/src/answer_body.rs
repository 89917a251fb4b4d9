//! The body of an answer, taken off the connection as its bytes come.
//!
//! ```text
//!   Length(n) ──n bytes──► Ended
//!   Close ──end of the connection──► Ended
//!
//!   Size ──"3;x=y CRLF"──► Data(3) ──3 bytes──► DataEnd ──CRLF──► Size
//!     └────"0 CRLF"──► Trailers ──lines, an empty one──► Ended
//! ```
//!
//! Pure: it says how many of the bytes it took and never needs them again; those that are
//! only half of something stay with the caller until more have come.

use httparse::Status;

use super::answer_head::BodyEnd;
use super::client::BodyBuffer;

/// The longest line of a chunk's size, and the most that trailers may take.
const LINES_LIMIT: usize = 16 * 1024;
/// Trailers that nearly every chunked body keeps to, and those that one may have.
const FEW_TRAILERS: usize = 32;
const MOST_TRAILERS: usize = 2_000;

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerBody {
    /// So many bytes are to come.
    Length(u64),
    /// All that is to come.
    Close,
    /// Chunked: the next chunk's size is to come.
    Size,
    /// Chunked: so many bytes of the chunk are to come.
    Data(u64),
    /// Chunked: the end of a chunk's line is to come.
    DataEnd,
    /// Chunked: the trailers, and the empty line behind them, are to come.
    Trailers,
    /// It is whole.
    Ended,
}

/// Why bytes are no chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no chunked body of an HTTP/1 answer")]
pub(crate) struct BodyError;

/// What became of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// How many of them are done with.
    pub(crate) bytes: usize,
    /// No more of the body is wanted: it is whole, or as much of it as is kept.
    pub(crate) is_enough: bool,
}

impl From<BodyEnd> for AnswerBody {
    fn from(end: BodyEnd) -> Self {
        match end {
            BodyEnd::Length(0) => Self::Ended,
            BodyEnd::Length(length) => Self::Length(length),
            BodyEnd::Chunked => Self::Size,
            BodyEnd::Close => Self::Close,
        }
    }
}

impl AnswerBody {
    /// Takes what it can of `bytes`, the data into `data`.
    ///
    /// # Errors
    /// [`BodyError`]: whatever else comes, this is no body.
    pub(crate) fn take(&mut self, bytes: &[u8], data: &mut BodyBuffer) -> Result<Taken, BodyError> {
        let mut taken = 0;
        loop {
            let rest = &bytes[taken..];
            let step = match *self {
                Self::Ended => None,
                Self::Close => some_data(rest, u64::MAX).map(|some| (some.len(), Self::Close)),
                Self::Length(left) => some_data(rest, left).map(|some| {
                    let left = left - some.len() as u64;
                    let next = if left == 0 {
                        Self::Ended
                    } else {
                        Self::Length(left)
                    };
                    (some.len(), next)
                }),
                Self::Data(left) => some_data(rest, left).map(|some| {
                    let left = left - some.len() as u64;
                    let next = if left == 0 {
                        Self::DataEnd
                    } else {
                        Self::Data(left)
                    };
                    (some.len(), next)
                }),
                Self::Size => size_line(rest)?,
                Self::DataEnd => line_end(rest)?,
                Self::Trailers => trailers(rest)?,
            };
            let Some((step, next)) = step else {
                let is_enough = *self == Self::Ended;
                return Ok(Taken {
                    bytes: taken,
                    is_enough,
                });
            };
            let is_data = matches!(self, Self::Close | Self::Length(_) | Self::Data(_));
            *self = next;
            taken += step;
            if is_data && !data.push_copy(&rest[..step]) {
                return Ok(Taken {
                    bytes: taken,
                    is_enough: true,
                });
            }
        }
    }

    /// Whether the end of the connection is the end of the body, or cuts it short.
    pub(crate) fn may_end_with_connection(self) -> bool {
        matches!(self, Self::Close | Self::Ended)
    }
}

/// What follows: how many bytes are taken, and what then is to come; none without more bytes.
type Step = Option<(usize, AnswerBody)>;

fn some_data(bytes: &[u8], left: u64) -> Option<&[u8]> {
    let most = usize::try_from(left).unwrap_or(usize::MAX);
    let some = &bytes[..bytes.len().min(most)];
    (!some.is_empty()).then_some(some)
}

fn size_line(bytes: &[u8]) -> Result<Step, BodyError> {
    // The parser takes a line without a digit for the last chunk, and so half a body for a whole one.
    if bytes.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
        return Err(BodyError);
    }
    match httparse::parse_chunk_size(bytes) {
        Ok(Status::Complete((line, _))) if has_bare_line_feed(&bytes[..line]) => Err(BodyError),
        Ok(Status::Complete((line, 0))) => Ok(Some((line, AnswerBody::Trailers))),
        Ok(Status::Complete((line, size))) => Ok(Some((line, AnswerBody::Data(size)))),
        Ok(Status::Partial) if bytes.len() <= LINES_LIMIT => Ok(None),
        Ok(Status::Partial) | Err(_) => Err(BodyError),
    }
}

fn line_end(bytes: &[u8]) -> Result<Step, BodyError> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some((2, AnswerBody::Size))),
        [] | [b'\r'] => Ok(None),
        _ => Err(BodyError),
    }
}

fn trailers(bytes: &[u8]) -> Result<Step, BodyError> {
    let mut few = [httparse::EMPTY_HEADER; FEW_TRAILERS];
    let mut parsed = httparse::parse_headers(bytes, &mut few);
    let mut most;
    if parsed == Err(httparse::Error::TooManyHeaders) {
        most = vec![httparse::EMPTY_HEADER; MOST_TRAILERS];
        parsed = httparse::parse_headers(bytes, &mut most);
    }
    match parsed {
        Ok(Status::Complete((lines, _))) if has_bare_line_feed(&bytes[..lines]) => Err(BodyError),
        Ok(Status::Complete((lines, _))) => Ok(Some((lines, AnswerBody::Ended))),
        Ok(Status::Partial) if bytes.len() <= LINES_LIMIT => Ok(None),
        Ok(Status::Partial) | Err(_) => Err(BodyError),
    }
}

/// Whether a line ends with a line feed alone: readers differ in whether it ends there, and so in
/// where the body does.
fn has_bare_line_feed(lines: &[u8]) -> bool {
    let mut before = 0;
    lines
        .iter()
        .any(|&byte| std::mem::replace(&mut before, byte) != b'\r' && byte == b'\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives `bytes` to a body in pieces of `step`, as a connection would, and says what came
    /// of it and how much was left.
    fn feed(end: BodyEnd, bytes: &[u8], step: usize) -> Result<(Vec<u8>, bool, usize), BodyError> {
        let mut body = AnswerBody::from(end);
        let mut data = BodyBuffer::default();
        let (mut taken, mut come) = (0, 0);
        loop {
            let some = body.take(&bytes[taken..come], &mut data)?;
            taken += some.bytes;
            if some.is_enough || come == bytes.len() {
                return Ok((data.finish().to_vec(), some.is_enough, bytes.len() - taken));
            }
            come = (come + step).min(bytes.len());
        }
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let (body, is_whole, left) = feed(BodyEnd::Length(3), b"abcd", 9).unwrap();
        assert_eq!((&*body, is_whole, left), (&b"abc"[..], true, 1));
        let (_, is_whole, _) = feed(BodyEnd::Length(5), b"abcd", 9).unwrap();
        assert!(!is_whole);
        let (_, is_whole, left) = feed(BodyEnd::Length(0), b"abcd", 9).unwrap();
        assert_eq!((is_whole, left), (true, 4));
    }

    #[test]
    fn a_body_with_many_trailers_is_whole() {
        for trailers in [0, 1, 32, 33, 1_000] {
            let lines = "x: y\r\n".repeat(trailers);
            let bytes = format!("2\r\nok\r\n0\r\n{lines}\r\n");
            let (body, is_whole, left) = feed(BodyEnd::Chunked, bytes.as_bytes(), 50).unwrap();
            assert_eq!(
                (&*body, is_whole, left),
                (&b"ok"[..], true, 0),
                "{trailers}"
            );
        }
    }

    #[test]
    fn a_chunked_body_must_be_just_so() {
        for bytes in [
            "x\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "-1\r\n",
            "11112222333344445\r\n",
            "0\r\nno colon\r\n\r\n",
            "\r\n\r\n",
            ";x=y\r\n\r\n",
            " \r\n\r\n",
            "3\r\nabc\r\n\r\n\r\n",
            "0\r\n\n\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx: y\r\n\n",
            "3;a\nb\r\nabc\r\n0\r\n\r\n",
        ] {
            assert_eq!(
                feed(BodyEnd::Chunked, bytes.as_bytes(), 99),
                Err(BodyError),
                "{bytes:?}"
            );
        }
        let endless = [b"3;", vec![b'x'; 2 * LINES_LIMIT].as_slice()].concat();
        assert_eq!(feed(BodyEnd::Chunked, &endless, 1000), Err(BodyError));
    }

    proptest! {
        /// However the bytes are cut, the body is the same, and nothing behind it is touched.
        #[test]
        fn how_bytes_come_changes_nothing(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            extension in "(;[a-z]{1,5}=[a-z]{1,5})?",
            trailer in "([a-z]{1,5}: [a-z]{0,9}\r\n){0,3}",
            step in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for chunk in &chunks {
                bytes.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(format!("0{extension}\r\n{trailer}\r\n").as_bytes());
            let whole = chunks.concat();
            // Without the last byte it is not whole.
            let (_, is_whole, _) = feed(BodyEnd::Chunked, &bytes[..bytes.len() - 1], step).unwrap();
            prop_assert!(!is_whole);
            bytes.extend_from_slice(b"HTTP/1.1");
            let (body, is_whole, left) = feed(BodyEnd::Chunked, &bytes, step).unwrap();
            prop_assert_eq!((body, is_whole), (whole, true));
            prop_assert!(left <= 8);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            let _ = feed(BodyEnd::Chunked, &bytes, step);
        }
    }
}

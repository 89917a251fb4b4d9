//! The head of an answer: its status, where its body ends, and whether the connection lives on.
//!
//! The head is read by `httparse`; what it means is RFC 9112, section 6.3, for the answer to a
//! POST:
//!
//! | head | body |
//! |---|---|
//! | 1xx (but 101), 204, 304 | none |
//! | `transfer-encoding` that ends in `chunked` | chunked |
//! | any other `transfer-encoding` | up to the end of the connection |
//! | `content-length` | so many bytes |
//! | neither | up to the end of the connection |
//!
//! A head that says two things at once is no HTTP: two lengths that differ, a length that is
//! no number, a transfer coding in HTTP/1.0. A length beside a transfer coding is passed over,
//! and the connection is not used again.
//!
//! Pure: bytes in, meaning out.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use bytes::Bytes;
use httparse::{Header, ParserConfig, Status};

use super::retry_after::RetryAfter;

/// Header fields of an answer that are read without an allocation.
const USUAL_HEADERS: usize = 100;
/// Header fields that an answer may have.
const MOST_HEADERS: usize = 2_000;

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerHead {
    /// 100 to 999.
    pub(crate) status: u16,
    /// Where the body ends.
    pub(crate) body: BodyEnd,
    /// Whether the connection may carry another request after the body.
    pub(crate) keeps_alive: bool,
    /// When the gate wants to be asked again.
    pub(crate) retry_after: Option<RetryAfter>,
    /// Where a redirect leads.
    pub(crate) location: Option<Bytes>,
}

/// Why bytes are not the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// They are not HTTP at all.
    #[error("no head of an HTTP/1 answer: {0}")]
    NotHttp(#[from] httparse::Error),
    /// They contradict themselves.
    #[error("a head of an HTTP/1 answer with {0}")]
    Contradiction(&'static str),
}

impl AnswerHead {
    /// Reads the head at the beginning of `bytes`, and how long it is; `None` while its end has
    /// not come.
    ///
    /// # Errors
    /// [`HeadError`]: whatever else comes, this is no answer.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        // Not filled before: that would cost more than reading the few that there are.
        let mut headers = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
        match Self::parse_into(bytes, &mut headers) {
            Err(HeadError::NotHttp(httparse::Error::TooManyHeaders)) => {
                Self::parse_into(bytes, &mut vec![MaybeUninit::uninit(); MOST_HEADERS])
            }
            parsed => parsed,
        }
    }

    fn parse_into<'b>(
        bytes: &'b [u8],
        headers: &mut [MaybeUninit<Header<'b>>],
    ) -> Result<Option<(Self, usize)>, HeadError> {
        let mut head = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        // RFC 9112, section 5.2: a client reads a folded field. Its line ends are white space.
        config.allow_obsolete_multiline_headers_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut head, bytes, headers)?;
        let Status::Complete(length) = parsed else {
            return Ok(None);
        };
        let (Some(status @ 100..), Some(version)) = (head.code, head.version) else {
            return Err(HeadError::Contradiction("a status below 100"));
        };
        let fields = Fields::read(head.headers)?;
        let body = fields.body_end(status, version)?;
        let keeps_alive = match version {
            0 => fields.keep_alive && !fields.close,
            _ => !fields.close,
        };
        let is_ambiguous = fields.transfer_encoding.is_some() && fields.length.is_some();
        let head = Self {
            status,
            body,
            keeps_alive: keeps_alive
                && !is_ambiguous
                && body != BodyEnd::Close
                && status != SWITCHED,
            retry_after: fields.retry_after,
            location: match status {
                300..=399 => fields.location,
                _ => None,
            },
        };
        Ok(Some((head, length)))
    }

    /// Whether the real answer is still to come.
    pub(crate) fn is_informational(&self) -> bool {
        self.status < 200 && self.status != SWITCHED
    }
}

/// Switching protocols: final, and the end of HTTP on the connection. Nobody asked for it.
const SWITCHED: u16 = 101;

/// The header fields that matter.
#[derive(Debug, Default)]
struct Fields {
    length: Option<u64>,
    /// Whether it ends in `chunked`, if there is one.
    transfer_encoding: Option<bool>,
    close: bool,
    keep_alive: bool,
    retry_after: Option<RetryAfter>,
    location: Option<Bytes>,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, HeadError> {
        let mut fields = Self::default();
        for Header { name, value } in headers {
            let value = &*unfolded(value);
            if name.eq_ignore_ascii_case("content-length") {
                fields.length = Some(length(value, fields.length)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                let last = value.rsplit(|byte| *byte == b',').next();
                fields.transfer_encoding = Some(last.is_some_and(|coding| is(coding, "chunked")));
            } else if name.eq_ignore_ascii_case("connection") {
                for option in value.split(|byte| *byte == b',') {
                    fields.close |= is(option, "close");
                    fields.keep_alive |= is(option, "keep-alive");
                }
            } else if name.eq_ignore_ascii_case("retry-after") && fields.retry_after.is_none() {
                fields.retry_after = RetryAfter::parse(value);
            } else if name.eq_ignore_ascii_case("location") {
                fields.location = Some(Bytes::copy_from_slice(value));
            }
        }
        Ok(fields)
    }

    fn body_end(&self, status: u16, version: u8) -> Result<BodyEnd, HeadError> {
        Ok(match (status, self.transfer_encoding, self.length) {
            (100..=199 | 204 | 304, ..) => BodyEnd::Length(0),
            (_, Some(_), _) if version == 0 => {
                return Err(HeadError::Contradiction("a transfer coding in HTTP/1.0"));
            }
            (_, Some(true), _) => BodyEnd::Chunked,
            (_, None, Some(length)) => BodyEnd::Length(length),
            (_, Some(false), _) | (_, None, None) => BodyEnd::Close,
        })
    }
}

/// The value of a field without the line ends of its folds, behind which white space stands anyway.
fn unfolded(value: &[u8]) -> Cow<'_, [u8]> {
    if value.contains(&b'\n') {
        let bytes = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        Cow::Owned(bytes.copied().collect())
    } else {
        Cow::Borrowed(value)
    }
}

fn is(token: &[u8], word: &str) -> bool {
    token.trim_ascii().eq_ignore_ascii_case(word.as_bytes())
}

/// The one length that a field, and those before it, give.
fn length(value: &[u8], before: Option<u64>) -> Result<u64, HeadError> {
    let mut found = before;
    for text in value.split(|byte| *byte == b',') {
        let text = text.trim_ascii();
        let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(text).ok().filter(|_| is_number);
        let number = number
            .and_then(|text| text.parse().ok())
            .ok_or(HeadError::Contradiction("a length that is no number"))?;
        if found.is_some_and(|found| found != number) {
            return Err(HeadError::Contradiction("two lengths"));
        }
        found = Some(number);
    }
    found.ok_or(HeadError::Contradiction("a length that is no number"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn head(lines: &str) -> Result<AnswerHead, HeadError> {
        let bytes = format!("{lines}\r\n\r\nrest");
        let (head, length) = AnswerHead::parse(bytes.as_bytes())?.expect("a whole head");
        assert_eq!(&bytes[length..], "rest");
        Ok(head)
    }

    #[test]
    fn where_a_body_ends_is_what_the_rfc_says() {
        let close = BodyEnd::Close;
        for (lines, body, keeps_alive) in [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 5",
                BodyEnd::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5, 5",
                BodyEnd::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nConnection: Close",
                BodyEnd::Length(0),
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked",
                BodyEnd::Chunked,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5",
                BodyEnd::Chunked,
                false,
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip", close, false),
            ("HTTP/1.1 200 OK", close, false),
            (
                "HTTP/1.1 204 No\r\ncontent-length: 5",
                BodyEnd::Length(0),
                true,
            ),
            ("HTTP/1.1 304 No", BodyEnd::Length(0), true),
            ("HTTP/1.1 100 Go on", BodyEnd::Length(0), true),
            ("HTTP/1.1 101 Switch", BodyEnd::Length(0), false),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 5",
                BodyEnd::Length(5),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive",
                BodyEnd::Length(5),
                true,
            ),
        ] {
            let head = head(lines).unwrap();
            assert_eq!(
                (head.body, head.keeps_alive),
                (body, keeps_alive),
                "{lines}"
            );
        }
    }

    #[test]
    fn only_1xx_that_end_nothing_are_informational() {
        for (status, expected) in [(100, true), (103, true), (101, false), (200, false)] {
            let head = head(&format!("HTTP/1.1 {status} S")).unwrap();
            assert_eq!(head.is_informational(), expected, "{status}");
        }
    }

    #[test]
    fn a_head_that_contradicts_itself_is_no_http() {
        for lines in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6",
            "HTTP/1.1 200 OK\r\ncontent-length: +5",
            "HTTP/1.1 200 OK\r\ncontent-length: ",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
            "HTTP/1.1 099 Low",
        ] {
            assert!(
                matches!(head(lines), Err(HeadError::Contradiction(_))),
                "{lines}"
            );
        }
        for lines in [
            "SSH-2.0",
            "HTTP/2.0 200 OK",
            "HTTP/1.1 abc",
            "HTTP/1.1 200 OK\r\nno colon",
        ] {
            assert!(matches!(head(lines), Err(HeadError::NotHttp(_))), "{lines}");
        }
    }

    #[test]
    fn many_fields_and_folded_ones_are_read() {
        for fields in [0, 99, 150, 1_900] {
            let many: String = "x-y: v\r\n".repeat(fields);
            let head = head(&format!("HTTP/1.1 200 OK\r\n{many}content-length: 5")).unwrap();
            assert_eq!(head.body, BodyEnd::Length(5), "{fields}");
        }
        let folded =
            head("HTTP/1.1 503 S\r\nx: a\r\n b\r\nretry-after:\r\n\t7\r\ncontent-length: 5");
        let folded = folded.unwrap();
        assert_eq!(folded.body, BodyEnd::Length(5));
        assert_eq!(
            folded.retry_after,
            Some(RetryAfter::Delay(Duration::from_secs(7)))
        );
        let endless = "x: v\r\n".repeat(2_001);
        let error = head(&format!("HTTP/1.1 200 OK\r\n{endless}y: z")).unwrap_err();
        assert!(error.to_string().contains("head"), "{error}");
    }

    #[test]
    fn a_redirect_says_where_it_leads() {
        let at = |status| head(&format!("HTTP/1.1 {status} S\r\nLocation: /elsewhere"));
        assert_eq!(
            at(302).unwrap().location.as_deref(),
            Some(&b"/elsewhere"[..])
        );
        assert_eq!(at(201).unwrap().location, None);
    }

    #[test]
    fn a_folded_value_is_read_without_its_line_ends() {
        let folded = head(
            "HTTP/1.1 302 S\r\nLocation: /a\r\n b\r\nretry-after: Sun, 06\r\n Nov 1994 08:49:37 GMT",
        );
        let folded = folded.unwrap();
        assert_eq!(folded.location.as_deref(), Some(&b"/a b"[..]));
        assert!(matches!(folded.retry_after, Some(RetryAfter::At(_))));
    }

    #[test]
    fn the_wish_to_wait_is_read() {
        let head = head("HTTP/1.1 429 Slow\r\nretry-after: 7\r\nRetry-After: 9").unwrap();
        assert_eq!(
            head.retry_after,
            Some(RetryAfter::Delay(Duration::from_secs(7)))
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_beginning_is_never_a_head(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..60,
        ) {
            let _ = AnswerHead::parse(&bytes);
            let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\nx: y\r\n\r\n";
            prop_assert_eq!(AnswerHead::parse(&whole[..cut.min(whole.len() - 1)]), Ok(None));
        }
    }
}

//! Event ids: who an event is, whatever the backend, order, lanes or speed.
//!
//! An id is the SHA-256 of the `|`-joined output id, the value of each primary-key column in the
//! order of the catalogue, manifest fingerprint, parameter hash, seed and scenario id. The text of
//! a value is the string itself, an integer in decimal, or `True` / `False`. These spellings are
//! those of every producer of these worlds: another one would be another id, and break
//! deduplication downstream, so no other type has a text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};

/// The identity of an event: a SHA-256 digest, written as 64 lowercase hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 32]);

impl EventId {
    /// Reads the 64 lowercase hex digits of an envelope; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(bytes))
    }

    /// The id whose digest has these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lowercase hex digits that the envelope has, as ASCII.
    pub fn hex(&self) -> [u8; 64] {
        let mut hex = [0; 64];
        for (pair, byte) in hex.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        hex
    }
}

const fn hex_digit(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not 64 lowercase hex digits"))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
    }
}

/// The beginning of the hashed text, hashed as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct IdHead(Sha256);

impl IdHead {
    pub(crate) fn new(output_id: &str) -> Self {
        Self(Sha256::new().chain_update(output_id).chain_update(b"|"))
    }

    /// The head that goes on with `text`.
    pub(crate) fn with(&self, text: &[u8]) -> Self {
        Self(self.0.clone().chain_update(text))
    }

    /// The id of the event whose text ends with `rest`.
    pub(crate) fn finish(&self, rest: &[u8]) -> EventId {
        EventId(self.0.clone().chain_update(rest).finalize().into())
    }
}

/// What follows the key values in the hashed text.
pub(crate) fn id_tail(fingerprint: &str, parameters: &str, seed: u64, scenario: &str) -> Vec<u8> {
    format!("{fingerprint}|{parameters}|{seed}|{scenario}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_id_wherever_it_is_cut() {
        let text = "output_6B|12345678901234567890|True|a value that runs over a block of 64 bytes";
        let (output_id, rest) = text.split_once('|').unwrap();
        let expected = Sha256::digest(text);
        for cut in 0..rest.len() {
            let (head, tail) = rest.as_bytes().split_at(cut);
            let id = IdHead::new(output_id).with(head).finish(tail);
            assert_eq!(id.as_bytes()[..], expected[..]);
        }
    }

    #[test]
    fn hex_digits_are_lowercase_and_in_byte_order() {
        let mut bytes = [0; 32];
        (bytes[0], bytes[1], bytes[31]) = (0x01, 0xfe, 0x9a);
        let hex = EventId(bytes).to_string();
        assert!(hex.starts_with("01fe0000") && hex.ends_with("009a") && hex.len() == 64);
        assert_eq!(EventId::parse(&hex), Some(EventId(bytes)));
        for wrong in [
            "",
            &hex[1..],
            &hex.to_uppercase(),
            &format!("{hex}00"),
            &"g".repeat(64),
        ] {
            assert_eq!(EventId::parse(wrong), None);
        }
    }
}

//! What the gate reads of a posted envelope.

use std::borrow::Cow;
use std::fmt;

use envelope::{EventTime, ordering_key};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::OrderCheck;

/// The fields of an envelope that the gate's own books need.
#[derive(Debug, Deserialize)]
pub(super) struct Post<'a> {
    #[serde(borrow)]
    pub(super) event_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) event_type: Cow<'a, str>,
    #[serde(borrow)]
    ts_utc: Cow<'a, str>,
    #[serde(default)]
    platform_run_id: Option<String>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
}

impl<'a> Post<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// The id's 32 bytes; the digest of an id that is not hex64, which an envelope
    /// that was not validated may have.
    pub(super) fn id_bytes(&self) -> [u8; 32] {
        id_bytes(&self.event_id)
    }

    pub(super) fn platform_run_id(&self) -> &str {
        self.platform_run_id.as_deref().unwrap_or_default()
    }

    /// Event time in nanoseconds since 1970, as near as 64 bits allow; none if it
    /// cannot be read.
    pub(super) fn event_time_ns(&self) -> Option<i64> {
        let nanos = EventTime::parse(&self.ts_utc).ok()?.nanos();
        Some(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// The key that the check orders this event by.
    pub(super) fn ordering_key(&self, check: &OrderCheck) -> Option<u64> {
        let columns = match check {
            OrderCheck::Off => return None,
            OrderCheck::Total => return Some(0),
            OrderCheck::PerKey(columns) => columns,
        };
        let value = columns.get(self.event_type.as_ref()).and_then(|column| {
            let mut json = serde_json::Deserializer::from_str(self.payload?.get());
            FieldText(column).deserialize(&mut json).ok()?
        });
        Some(ordering_key(
            value.as_deref().unwrap_or(&self.event_type).as_bytes(),
        ))
    }
}

pub(super) fn id_bytes(event_id: &str) -> [u8; 32] {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut bytes = [0; 32];
    let text = event_id.as_bytes();
    let decoded = text.len() == 64
        && bytes
            .iter_mut()
            .zip(text.chunks_exact(2))
            .all(|(byte, pair)| match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = high << 4 | low;
                    true
                }
                _ => false,
            });
    if decoded {
        bytes
    } else {
        Sha256::digest(event_id).into()
    }
}

/// Reads one field of an object, as the text that an event id would spell it.
struct FieldText<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for FieldText<'_> {
    type Value = Option<String>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldText<'_> {
    type Value = Option<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a payload object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            if name == self.0 {
                found = match map.next_value::<serde_json::Value>()? {
                    serde_json::Value::String(text) => Some(text),
                    serde_json::Value::Bool(true) => Some("True".to_owned()),
                    serde_json::Value::Bool(false) => Some("False".to_owned()),
                    other => Some(other.to_string()),
                };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_ordering_key_is_the_text_of_the_payloads_column() {
        let body = br#"{"event_id":"x","event_type":"a","ts_utc":"2026-01-28T08:00:00Z",
            "payload":{"n":{"flow":1},"flow":18446744073709551615,"b":true}}"#;
        let post = Post::parse(body).unwrap();
        let by = |column: &str| {
            let columns = [("a".to_owned(), column.to_owned())].into();
            post.ordering_key(&OrderCheck::PerKey(columns)).unwrap()
        };
        assert_eq!(by("flow"), ordering_key(b"18446744073709551615"));
        assert_eq!(by("b"), ordering_key(b"True"));
        assert_eq!(by("absent"), ordering_key(b"a"));
        assert_eq!(post.event_time_ns(), Some(1_769_587_200_000_000_000));
    }

    #[test]
    fn an_id_is_read_as_hex_where_it_is_hex() {
        assert_eq!(id_bytes(&"0f".repeat(32)), [15; 32]);
        assert_eq!(id_bytes("x"), <[u8; 32]>::from(Sha256::digest("x")));
    }
}

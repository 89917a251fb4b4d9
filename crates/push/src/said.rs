//! What the body of an answer says beside its decision: the names by which a gate tells its
//! refusals and its own quarantine apart.
//!
//! Looked at only where an event was not simply taken.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reason codes of one answer that are kept.
const MOST_CODES: usize = 16;

/// What a body says; empty where it is no JSON object, or says nothing of the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The text of the field `error`.
    pub(crate) error: Option<String>,
    /// The text of the field `reason`.
    pub(crate) reason: Option<String>,
    /// The text of the field `receipt_ref`.
    pub(crate) receipt_ref: Option<String>,
    /// The texts of every field `reason_codes`, whatever its place, in the order of the body.
    pub(crate) reason_codes: Vec<String>,
}

impl Said {
    /// Reads a body; what is read before a fault in it counts.
    pub(crate) fn of(body: &[u8]) -> Self {
        let mut said = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(body);
        // What is no JSON says nothing.
        let _ = Reader::of(&mut said).deserialize(&mut reader);
        said
    }

    /// Whether one of the reason codes is this one.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.reason_codes.iter().any(|said| said == code)
    }
}

/// Where in the body the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the whole body.
    Body,
    /// Somewhere inside.
    Inside,
    /// At a field `reason_codes`.
    Codes,
}

struct Reader<'a> {
    said: &'a mut Said,
    place: Place,
}

impl<'a> Reader<'a> {
    fn of(said: &'a mut Said) -> Self {
        let place = Place::Body;
        Self { said, place }
    }

    fn at(&mut self, place: Place) -> Reader<'_> {
        let said = &mut *self.said;
        Reader { said, place }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let is_of_body = self.place == Place::Body;
            match key.as_str() {
                "error" if is_of_body => self.said.error = map.next_value::<Text>()?.0,
                "reason" if is_of_body => self.said.reason = map.next_value::<Text>()?.0,
                "receipt_ref" if is_of_body => self.said.receipt_ref = map.next_value::<Text>()?.0,
                "reason_codes" => map.next_value_seed(self.at(Place::Codes))?,
                _ => map.next_value_seed(self.at(Place::Inside))?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let place = match self.place {
            Place::Codes => Place::Codes,
            Place::Body | Place::Inside => Place::Inside,
        };
        while list.next_element_seed(self.at(place))?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let codes = &mut self.said.reason_codes;
        let is_new = codes.len() < MOST_CODES && !codes.iter().any(|code| code == text);
        if self.place == Place::Codes && is_new {
            codes.push(text.to_owned());
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A value, if it is a text.
struct Text(Option<String>);

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct IfText;

        impl<'de> Visitor<'de> for IfText {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Some(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Text(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
                Ok(Text(None))
            }

            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(None))
            }
        }

        value.deserialize_any(IfText)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn error_and_reason_stand_on_top_and_reason_codes_anywhere() {
        let body =
            br#"{"decision": "QUARANTINE", "reason_codes": ["A"], "error": "X", "reason": "y: z",
            "receipt": {"error": "inner", "reason_codes": ["SCHEMA_FAIL", "A"],
                        "checks": [{"reason_codes": "B"}, {"reason_codes": null}]}}"#;
        let said = Said::of(body);
        assert_eq!(said.error.as_deref(), Some("X"));
        assert_eq!(said.reason.as_deref(), Some("y: z"));
        assert_eq!(said.reason_codes, ["A", "SCHEMA_FAIL", "B"]);
        assert!(said.has_code("SCHEMA_FAIL") && !said.has_code("SCHEMA"));
    }

    #[test]
    fn what_is_no_text_says_nothing() {
        for body in [
            &b"<html>500</html>"[..],
            b"",
            b"[]",
            b"null",
            br#""IG_UNHEALTHY""#,
            br#"{"error": {"reason": "X"}, "reason": ["X"]}"#,
            br#"{"error": 5, "reason": null, "reason_codes": 7}"#,
        ] {
            assert_eq!(Said::of(body), Said::default(), "{body:?}");
        }
    }

    #[test]
    fn of_endless_codes_the_first_are_kept() {
        let codes: Vec<String> = (0..100).map(|n| format!("\"C{n}\"")).collect();
        let body = format!("{{\"reason_codes\": [{}]}}", codes.join(","));
        assert_eq!(Said::of(body.as_bytes()).reason_codes.len(), MOST_CODES);
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..400)) {
            Said::of(&body);
        }
    }
}

//! One field of a JSON line, without keeping the rest of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of a top-level field: a string's own, any other value's JSON, none if the
/// field is missing or null.
///
/// # Errors
/// The line is no JSON object, or the field occurs twice in it: readers differ in which one
/// they take.
pub(crate) fn field_text<'a>(
    line: &'a [u8],
    field: &str,
) -> Result<Option<Cow<'a, str>>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let raw = Field(field).deserialize(&mut deserializer)?;
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw).map(|text| Some(text.into())),
        _ if raw == "null" => Ok(None),
        _ => Ok(Some(raw.into())),
    }
}

struct Field<'f>(&'f str);

impl<'a> DeserializeSeed<'a> for Field<'_> {
    type Value = Option<&'a RawValue>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Field<'_> {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(KeyIs(self.0))? {
            if is_it && found.is_some() {
                return Err(M::Error::custom(format_args!(
                    "the field `{}` occurs twice",
                    self.0
                )));
            } else if is_it {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Compares a key without allocating it.
struct KeyIs<'f>(&'f str);

impl<'a> DeserializeSeed<'a> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(line: &'a str, field: &str) -> Option<Cow<'a, str>> {
        field_text(line.as_bytes(), field).unwrap()
    }

    #[test]
    fn a_fields_text_is_its_own_or_its_json() {
        let line = r#"{"a":{"ts":"no"},"ts":"2026-01-01","n":12.50,"z":null,"e":"x\ny"}"#;
        assert_eq!(text(line, "ts").unwrap(), "2026-01-01");
        assert_eq!(text(line, "n").unwrap(), "12.50");
        assert_eq!(text(line, "e").unwrap(), "x\ny");
        assert_eq!(text(line, "z"), None);
        assert_eq!(text(line, "missing"), None);
    }

    #[test]
    fn a_line_in_which_the_field_occurs_twice_is_an_error() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":null}"#] {
            let error = field_text(twice.as_bytes(), "a").unwrap_err();
            assert!(error.to_string().contains("`a` occurs twice"), "{error}");
        }
        assert_eq!(text(r#"{"a":1,"b":{"a":2}}"#, "a").unwrap(), "1");
    }

    #[test]
    fn a_line_that_is_no_object_is_an_error() {
        assert!(field_text(b"[1]", "a").is_err());
        assert!(field_text(b"{\"a\":", "a").is_err());
    }
}

//! The one place that reads JSON evidence: every object in it names each field once.
//!
//! Where a field occurs twice, readers differ in which one they take. Evidence that can be
//! read in two ways is refused, at any depth, in fields that nobody here knows too. So is a list of
//! values where an object names its fields.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};

/// Reads a value from the bytes of a JSON document in which no object names a field twice and every
/// struct is an object.
///
/// # Errors
/// The parser's error, with line and column; also for a field that occurs twice, and for a list
/// where a struct is wanted.
pub fn from_json<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    UniqueFields.deserialize(&mut deserializer)?;
    model::json_strictly(bytes)
}

/// Passes over a value, and fails at a field that occurs twice in it.
#[derive(Clone, Copy)]
struct UniqueFields;

impl<'de> DeserializeSeed<'de> for UniqueFields {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueFields {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!(
                    "the field `{}` occurs twice",
                    name.escape_debug()
                )));
            }
            names.insert(name);
            map.next_value_seed(self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
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

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_field_that_occurs_twice_is_refused_at_any_depth() {
        for twice in [
            r#"{"a": 1, "a": 1}"#,
            r#"{"x": {"a": 1, "b": 2, "a": 2}}"#,
            r#"[{"x": [null, {"a": 1, "\u0061": 2}]}]"#,
            r#"{"x": {"y": {"": 1, "": 2}}}"#,
        ] {
            let error = from_json::<Value>(twice.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("occurs twice"), "{error}");
        }
    }

    #[test]
    fn a_name_may_occur_again_in_another_object() {
        let text = r#" {"a": {"a": [{"a": 1}, {"a": 1.5e3}]}, "b": [true, null, "a", -1]} "#;
        assert_eq!(
            from_json::<Value>(text.as_bytes()).unwrap(),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (wrong, place) in [("", "line 1"), ("{\"a\": ", "column"), ("{} x", "trailing")] {
            let error = from_json::<Value>(wrong.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(place), "{error}");
        }
    }
}

//! Reading by a form that has no second spelling: a struct is an object, a list is a list, and one of
//! several names is a text.
//!
//! What serde derives for a struct also takes the values of its fields in their order, as a list
//! without names; for a name it takes an object too (`{"OK": null}`); and YAML gives an empty list
//! for a key without a value. A file that says what may be read, or how far a stream is, is read by
//! none of these.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Reads a value in which every struct and map is an object, every list a list and every enum the
/// name of a variant without data, at any depth.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Seal {
///     status: String,
/// }
///
/// let read = |text: &str| {
///     let mut json = serde_json::Deserializer::from_str(text);
///     model::read_strictly::<Seal, _>(&mut json).map(|seal| seal.status)
/// };
/// assert_eq!(read(r#"{"status": "OK"}"#).unwrap(), "OK");
/// assert!(read(r#"["OK"]"#).is_err());
/// ```
///
/// # Errors
/// The deserializer's own; also for a list where a struct or map is wanted, for anything but a list
/// where a list is, and for anything but a text where an enum is.
pub fn read_strictly<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    T::deserialize(Strict(deserializer))
}

/// Reads one JSON value, and nothing behind it, as [`read_strictly`] does.
///
/// # Errors
/// The parser's, with line and column; as [`read_strictly`].
pub fn json_strictly<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = read_strictly(&mut json)?;
    json.end()?;
    Ok(value)
}

/// A deserializer, visitor, seed or access, whose values inside are read strictly too.
struct Strict<T>(T);

/// A visitor that takes an object alone.
struct ObjectOnly<V>(V);

/// A visitor that takes a list alone.
struct ListOnly<V>(V);

/// A visitor that takes a text alone: the name of one of several values.
struct TextOnly<V>(V);

/// Calls the wrapped deserializer's methods with a wrapped visitor.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Strict(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str()
        deserialize_string() deserialize_bytes() deserialize_byte_buf() deserialize_option()
        deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_identifier() deserialize_ignored_any()
    }

    // A deserializer that is asked for a list may make one of nothing: it is asked for what is there.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(ListOnly(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(ObjectOnly(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_str(TextOnly(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ObjectOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ListOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(list))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TextOnly<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.0.visit_enum(text.into_deserializer())
    }
}

/// Calls the wrapped visitor's methods with the same value.
macro_rules! visit {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Strict(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, choice: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Strict(choice))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Strict(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Strict<A> {
    type Error = A::Error;
    type Variant = Strict<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Strict(seed))?;
        Ok((value, Strict(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Strict(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(length, Strict(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, ObjectOnly(visitor))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Outer<'a> {
        inner: Inner,
        list: Vec<Inner>,
        #[serde(default)]
        maybe: Option<Inner>,
        #[serde(borrow)]
        text: &'a str,
        any: Value,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Inner {
        n: u64,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Choice {
        One,
        Two,
    }

    #[test]
    fn one_of_several_names_is_a_text_alone() {
        let names: Vec<Choice> = read(r#"["One", "\u0054wo"]"#).unwrap();
        assert_eq!(names, [Choice::One, Choice::Two]);
        for wrong in [r#"{"One": null}"#, "0", "null", r#""Three""#] {
            assert!(read::<Choice>(wrong).is_err(), "{wrong}");
        }
    }

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_json::Error> {
        json_strictly(text.as_bytes())
    }

    #[test]
    fn what_stands_behind_a_value_is_refused() {
        assert!(read::<Inner>(r#"{"n": 1} "#).is_ok());
        assert!(read::<Inner>(r#"{"n": 1} {"n": 2}"#).is_err());
    }

    #[test]
    fn objects_are_read_as_they_are_read_without_it() {
        let text = r#"{"inner": {"n": 1}, "list": [{"n": 2}], "maybe": {"n": 3}, "text": "t", "any": [{"a": null}, -1, 1.5, true]}"#;
        let strict: Outer<'_> = read(text).unwrap();
        assert_eq!(strict, serde_json::from_str(text).unwrap());
        let raw: &RawValue = read(r#" [{"a" : 1}] "#).unwrap();
        assert_eq!(raw.get(), r#"[{"a" : 1}]"#);
    }

    #[test]
    fn a_list_is_no_struct_at_any_depth_and_nothing_is_no_list() {
        for wrong in [
            r#"[{"n": 1}, [], null, "t", 0]"#,
            r#"{"inner": [1], "list": [], "text": "t", "any": 0}"#,
            r#"{"inner": {"n": 1}, "list": [[1]], "text": "t", "any": 0}"#,
            r#"{"inner": {"n": 1}, "list": [], "maybe": [1], "text": "t", "any": 0}"#,
            r#"{"inner": {"n": 1}, "list": null, "text": "t", "any": 0}"#,
            r#"{"inner": {"n": 1}, "list": {}, "text": "t", "any": 0}"#,
        ] {
            let error = read::<Outer<'_>>(wrong).unwrap_err();
            assert!(error.to_string().contains("line 1 column"), "{error}");
        }
        assert!(read::<BTreeMap<String, u8>>("[]").is_err());
    }
}

//! A value of the profile file as serde's deserializers see it: the smallest walker that does
//! what serde and `serde_yaml` cannot.
//!
//! - A value may come from the environment whatever its type (`lanes: ${LANES:-8}`), so text is
//!   expanded before it is typed, and a value whose variable is unset is absent.
//! - Variables are expanded in values that WSP reads only: the rest of the file is another
//!   component's.
//! - A value that may hold a credential is read as the file has it ([`AsWritten`]), since the
//!   environment may hold what the file may not.
//! - No refusal repeats a value that looks like a credential, and an unknown key is told from a
//!   wrong value by the type of the [`Fault`], not by the words of an error.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_yaml::Value;

use super::expand::{Env, Template};
use super::places::shown;

/// The keys that a block's type reads, from its own `Deserialize`.
pub(super) fn keys_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It always answers with a fault: it has no values to give.
    let _ = T::deserialize(Keys(&mut keys));
    keys
}

struct Keys<'k>(&'k mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::Problem("is no block".to_owned()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// What is wrong with a value or a key, without where it is.
#[derive(Debug)]
pub(super) enum Fault {
    /// A block denies this key.
    Unknown {
        key: String,
        known: &'static [&'static str],
    },
    /// A block needs this key.
    Missing(&'static str),
    /// Words that follow the key's name.
    Problem(String),
}

impl Fault {
    fn not(text: &str, expected: &dyn Display) -> Self {
        Self::Problem(format!("is {}, not {expected}", shown(text)))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { key, .. } => write!(f, "unknown key `{key}`"),
            Self::Missing(key) => write!(f, "`{key}` is missing"),
            Self::Problem(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(problem: T) -> Self {
        Self::Problem(problem.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Str(text) => Self::not(text, &expected),
            other => Self::Problem(format!("is a {other}, not {expected}")),
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let names = match expected {
            [others @ .., last] if !others.is_empty() => {
                format!("{} or {last}", others.join(", "))
            }
            one => one.join(""),
        };
        Self::not(variant, &names)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let key = key.to_owned();
        Self::Unknown { key, known }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

/// A value, or the values in it, as the file has them: variables are not expanded, and a value
/// is absent only if the file has none.
#[derive(Debug, Default)]
pub(super) struct AsWritten<T>(pub(super) T);

impl<T> AsWritten<T> {
    /// What [`Node::deserialize_newtype_struct`] knows the type by.
    const NAME: &'static str = "AsWritten";
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AsWritten<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
            type Value = AsWritten<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<AsWritten<T>, D::Error> {
                T::deserialize(deserializer).map(AsWritten)
            }
        }

        deserializer.deserialize_newtype_struct(Self::NAME, Inner(std::marker::PhantomData))
    }
}

/// One value of the file, with the environment its variables are taken from.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    value: &'a Value,
    env: Env<'a>,
    as_written: bool,
}

impl<'a> Node<'a> {
    pub(super) fn new(value: &'a Value, env: Env<'a>) -> Self {
        Self {
            value,
            env,
            as_written: false,
        }
    }

    fn of(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }

    /// The text of a single value; `None` where the file has none, or its variable is unset.
    pub(super) fn text(self) -> Result<Option<String>, Fault> {
        let text = match self.value {
            Value::Null => return Ok(None),
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            _ => return Err(Fault::Problem("is not a single value".to_owned())),
        };
        if self.as_written {
            return Ok(Some(text));
        }
        let template = Template::parse(&text).map_err(Fault::Problem)?;
        Ok(template.expand(self.env))
    }

    /// Whether there is a value, once variables are expanded.
    pub(super) fn is_present(self) -> bool {
        match self.value {
            Value::Sequence(_) => true,
            _ => matches!(self.text(), Ok(Some(_))),
        }
    }

    fn present(self) -> Result<String, Fault> {
        self.text()?
            .ok_or_else(|| Fault::Problem("is missing".to_owned()))
    }

    fn parsed<T: FromStr>(self, expected: &str) -> Result<T, Fault> {
        let text = self.present()?;
        let parsed = text.trim().parse();
        parsed.map_err(|_| Fault::not(&text, &expected))
    }
}

impl IntoDeserializer<'_, Fault> for Node<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            _ => visitor.visit_string(self.present()?),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(self.parsed("true or false")?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(self.parsed("a whole number")?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(self.parsed("a number")?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let is_absent = match self.value {
            Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => self.value.is_null(),
            _ => self.text()?.is_none(),
        };
        if is_absent {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.as_written |= name == AsWritten::<()>::NAME;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.as_written {
            let texts = list_of_texts(self.value);
            let texts = texts.ok_or_else(|| Fault::Problem("is not a list of texts".to_owned()))?;
            return visitor.visit_seq(SeqDeserializer::new(texts.into_iter()));
        }
        let items = self.value.as_sequence();
        let items = items.ok_or_else(|| Fault::Problem("is not a list".to_owned()))?;
        visitor.visit_seq(SeqDeserializer::new(items.iter().map(|item| self.of(item))))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let empty = serde_yaml::Mapping::new();
        let block = match self.value.as_mapping() {
            Some(block) => block,
            None if self.value.is_null() => &empty,
            None => return Err(Fault::Problem("is not a block of keys".to_owned())),
        };
        // A key that is no text is nobody's: a block that denies unknown keys refuses it.
        let entries = block.iter().map(|(key, value)| {
            let name = key.as_str().unwrap_or_default();
            (name.to_owned(), self.of(value))
        });
        visitor.visit_map(MapDeserializer::new(entries))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let text = self.present()?;
        let name: StrDeserializer<'_, Fault> = text.trim().into_deserializer();
        visitor.visit_enum(name)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 u8 u16 u32 f32 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier
    }
}

/// The items of a list of texts; `None` for anything else.
pub(super) fn list_of_texts(value: &Value) -> Option<Vec<String>> {
    value
        .as_sequence()?
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect()
}

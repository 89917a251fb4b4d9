//! An independent reader of JSON: a tree that keeps every field of an object, repeated ones too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer from 0 to the most that 64 bits hold.
    Unsigned(u64),
    /// A negative integer of 64 bits.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Tree>),
    /// An object, its fields in their order.
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Reads one JSON document; `None` if the bytes are none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Reads a document in which no object names a field twice, at any depth.
    pub fn parse_unique(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes).filter(Self::is_unique)
    }

    /// Whether no object in it names a field twice.
    pub fn is_unique(&self) -> bool {
        match self {
            Self::Array(items) => items.iter().all(Self::is_unique),
            Self::Object(_) => {
                self.has_distinct_names() && self.fields().all(|(_, value)| value.is_unique())
            }
            _ => true,
        }
    }

    /// Whether it is an object whose own names are distinct.
    pub fn has_distinct_names(&self) -> bool {
        let mut names: Vec<&str> = self.fields().map(|(name, _)| name).collect();
        names.sort_unstable();
        matches!(self, Self::Object(_)) && names.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// The fields of an object; none of anything else.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Tree)> {
        let fields = match self {
            Self::Object(fields) => fields.as_slice(),
            _ => &[],
        };
        fields.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether it is an object of exactly these fields.
    pub fn has_exactly(&self, names: &[&str]) -> bool {
        matches!(self, Self::Object(fields) if fields.len() == names.len())
            && self.fields().all(|(name, _)| names.contains(&name))
    }

    /// The first field of this name.
    pub fn get(&self, name: &str) -> Option<&Tree> {
        self.fields()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn items(&self) -> Option<&[Tree]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The value of an integer from 0 up.
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a field, if it is as many lowercase hex digits.
    pub fn hex(&self, name: &str, digits: usize) -> Option<&str> {
        self.get(name)?
            .text()
            .filter(|text| crate::is_hex(text, digits))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(u64::try_from(value).map_or(Tree::Negative(value), Tree::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Tree::Object(fields))
    }
}

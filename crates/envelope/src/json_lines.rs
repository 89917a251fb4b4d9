//! Rows of JSON Lines parts.
//!
//! A line's own text is its payload, so nothing of it is built anew. It is parsed once, by a visitor
//! that keeps the values of a few wanted columns and otherwise only sees to it that the text is one
//! JSON object, that no name occurs twice at its top, and that strings are Unicode and numbers
//! finite throughout, so that whoever receives the envelope can read it.

use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, ReasonCode};
use crate::identity::{KeyFaultKind, boolean_text};
use crate::time_fault::TimeFault;
use model::EventTime;

/// Reads the event time and the key values of lines. Between lines it keeps only memory.
#[derive(Debug)]
pub(crate) struct LineReader {
    /// The time column, then the other columns of the key.
    wanted: Vec<String>,
    /// Where the key columns are in `wanted`, in the order of the catalogue.
    key: Vec<usize>,
    /// What the current line holds for each wanted column.
    found: Vec<Found>,
    /// The names and wanted values of the current line.
    text: String,
    /// Where the names of the current line lie in `text`.
    names: Vec<Range<usize>>,
}

/// What a line holds for a wanted column.
#[derive(Debug, Clone)]
enum Found {
    Nothing,
    Null,
    Text(Range<usize>),
    Boolean(bool),
    /// An integer of up to 64 bits, in decimal.
    Integer(Range<usize>),
    /// Anything else, by the name of its kind.
    Other(&'static str),
}

impl LineReader {
    pub(crate) fn new(time_column: &str, primary_key: &[String]) -> Self {
        let mut wanted = vec![time_column.to_owned()];
        let place = |column: &String| {
            wanted
                .iter()
                .position(|known| known == column)
                .unwrap_or_else(|| {
                    wanted.push(column.clone());
                    wanted.len() - 1
                })
        };
        let key = primary_key.iter().map(place).collect();
        Self {
            wanted,
            key,
            found: Vec::new(),
            text: String::new(),
            names: Vec::new(),
        }
    }

    /// Reads one line.
    ///
    /// # Errors
    /// `PAYLOAD_VALUE_UNSUPPORTED`, without a place, if the line is not one JSON object with
    /// distinct names.
    pub(crate) fn read(&mut self, line: &[u8]) -> Result<LineRow<'_>, Error> {
        self.text.clear();
        self.names.clear();
        self.found.clear();
        self.found.resize(self.wanted.len(), Found::Nothing);
        let mut parser = serde_json::Deserializer::from_slice(line);
        match parser
            .deserialize_map(Row(self))
            .and_then(|()| parser.end())
        {
            Ok(()) => Ok(LineRow(self)),
            Err(source) => {
                let what = "The line is not one JSON object with distinct names";
                Err(Error::new(ReasonCode::PayloadValueUnsupported, what).because(source))
            }
        }
    }

    fn has_a_name_twice(&mut self) -> bool {
        let Self { names, text, .. } = self;
        names.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
        names
            .windows(2)
            .any(|pair| text[pair[0].clone()] == text[pair[1].clone()])
    }
}

/// The wanted values of the line that was read last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineRow<'a>(&'a LineReader);

impl<'a> LineRow<'a> {
    pub(crate) fn time(self) -> Result<EventTime, TimeFault> {
        let unreadable = |kind: &str| {
            Err(TimeFault::Unreadable(
                format!("a JSON {kind}"),
                "it is not a string",
            ))
        };
        match &self.0.found[0] {
            Found::Nothing => Err(TimeFault::NoColumn),
            Found::Null => Err(TimeFault::Null),
            Found::Text(range) => {
                let text = &self.0.text[range.clone()];
                EventTime::parse(text).map_err(|fault| TimeFault::text(text, fault))
            }
            Found::Boolean(_) => unreadable("boolean"),
            Found::Integer(_) => unreadable("number"),
            Found::Other(kind) => unreadable(kind),
        }
    }

    /// The key values in the order of the catalogue, as the text that an event id takes.
    pub(crate) fn key_texts(
        self,
    ) -> impl Iterator<Item = Result<&'a [u8], (&'a str, KeyFaultKind)>> {
        let LineReader {
            wanted,
            key,
            found,
            text,
            ..
        } = self.0;
        key.iter().map(|&place| {
            let fault = |kind| Err((wanted[place].as_str(), kind));
            match &found[place] {
                Found::Nothing => fault(KeyFaultKind::NoColumn),
                Found::Null => fault(KeyFaultKind::Null),
                Found::Text(range) | Found::Integer(range) => Ok(text[range.clone()].as_bytes()),
                Found::Boolean(value) => Ok(boolean_text(*value)),
                Found::Other(kind) => fault(KeyFaultKind::Type(format!("a JSON {kind}"))),
            }
        })
    }
}

/// Sees that a text is one JSON object whose strings are Unicode and whose numbers are finite.
pub(crate) fn check_object(text: &str) -> serde_json::Result<()> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.deserialize_map(Any).and_then(|()| parser.end())
}

/// The text of a line as it goes into the payload: without what surrounds the object.
pub(crate) const fn payload_of(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// Visits the object of a whole line.
struct Row<'r>(&'r mut LineReader);

impl<'de> Visitor<'de> for Row<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(name) = map.next_key_seed(Name(&mut reader.text))? {
            let wanted = reader
                .wanted
                .iter()
                .position(|column| *column == reader.text[name.clone()]);
            match wanted {
                Some(place) => {
                    reader.found[place] = map.next_value_seed(Wanted(&mut reader.text))?;
                }
                None => map.next_value_seed(Any)?,
            }
            reader.names.push(name);
        }
        if reader.has_a_name_twice() {
            return Err(de::Error::custom("a name occurs twice"));
        }
        Ok(())
    }
}

/// Keeps a name by appending it to the reader's text.
struct Name<'r>(&'r mut String);

fn keep(text: &mut String, part: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(part);
    start..text.len()
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(keep(self.0, name))
    }
}

/// Keeps the value of a wanted column.
struct Wanted<'r>(&'r mut String);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Found, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Found, E> {
        Ok(Found::Boolean(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        Ok(Found::Text(keep(self.0, text)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Found, E> {
        Ok(Found::Integer(keep(
            self.0,
            itoa::Buffer::new().format(value),
        )))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found, E> {
        Ok(Found::Integer(keep(
            self.0,
            itoa::Buffer::new().format(value),
        )))
    }

    // A fraction, an exponent, more than 64 bits, or -0.
    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Other(
            "number that is not written as an integer of up to 64 bits",
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Found, A::Error> {
        Any.visit_seq(items)?;
        Ok(Found::Other("array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Found, A::Error> {
        Any.visit_map(fields)?;
        Ok(Found::Other("object"))
    }
}

/// Sees that a value can be read, and keeps nothing. (`IgnoredAny` would skip over strings that are
/// no Unicode and numbers that are not finite.)
#[derive(Clone, Copy)]
struct Any;

impl<'de> DeserializeSeed<'de> for Any {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key_seed(self)?.is_some() {
            fields.next_value_seed(self)?;
        }
        Ok(())
    }
}

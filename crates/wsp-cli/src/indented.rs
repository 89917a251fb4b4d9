//! JSON for a terminal: a field a line, and a list in one line, so that a report's columns over time
//! do not push everything else off the screen.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Writes a value as JSON for people.
pub fn to_vec_indented(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(
        &mut text,
        Indented::default(),
    ))?;
    Ok(text)
}

#[derive(Debug, Default)]
struct Indented {
    depth: usize,
    /// Whether the object that ends next has a field.
    has_field: bool,
}

impl Indented {
    fn begin_line<W: ?Sized + Write>(&self, to: &mut W) -> io::Result<()> {
        write!(to, "\n{:1$}", "", 2 * self.depth)
    }
}

impl Formatter for Indented {
    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_field = false;
        to.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(b",")?;
        }
        self.begin_line(to)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_field = true;
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.has_field {
            self.begin_line(to)?;
        }
        to.write_all(b"}")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_list_is_a_line_and_a_field_is_a_line_and_the_value_is_the_same() {
        let value = json!({
            "columns": [1, 2, null],
            "empty": {},
            "none": [],
            "outputs": [{"id": "a"}, {"id": "b\n"}],
        });
        let text = to_vec_indented(&value).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
        let expected = r#"{
  "columns": [1, 2, null],
  "empty": {},
  "none": [],
  "outputs": [{
    "id": "a"
  }, {
    "id": "b\n"
  }]
}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}

//! The one place that reads YAML: merge keys (`<<`) are applied, at any depth, a list is a list and
//! a struct a mapping.
//!
//! serde_yaml leaves a merge key as a key of its own, so that a reader which ignores unknown
//! keys would pass over whatever the key brings in, a restriction too. And it reads a key without a
//! value as an empty list, so that a restriction whose items were lost would be none.

use serde::de::{DeserializeOwned, Error as _};
use serde_yaml::{Mapping, Value};

/// Reads a value from the bytes of a YAML file, with its merge keys applied.
///
/// # Errors
/// The parser's error, with line and column where it knows them; also for a merge key whose
/// value is neither a mapping nor a list of mappings, for a key with a tag (`!x key:`), and for a
/// list or struct that is written as anything else.
pub fn from_yaml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_yaml::Error> {
    // Without a merge key or a tag the parser's errors keep their line and column. An escape may
    // spell a merge key: `"\x3c<"`.
    let may_hide = bytes.contains(&b'!') || bytes.contains(&b'\\');
    if !may_hide && !bytes.windows(2).any(|pair| pair == b"<<") {
        return model::read_strictly(serde_yaml::Deserializer::from_slice(bytes));
    }
    let mut value: Value = serde_yaml::from_slice(bytes)?;
    apply(&mut value)?;
    model::read_strictly(value)
}

/// Applies the merge keys of a value and of all values in it.
fn apply(value: &mut Value) -> Result<(), serde_yaml::Error> {
    match value {
        Value::Mapping(mapping) => {
            if let Some(merged) = mapping.remove("<<") {
                merge(mapping, merged)?;
            }
            mapping.iter_mut().try_for_each(|(key, inner)| match key {
                Value::Tagged(tagged) => Err(serde_yaml::Error::custom(format!(
                    "a key has the tag `{}`, so that nobody would find it",
                    tagged.tag
                ))),
                _ => apply(inner),
            })
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(apply),
        Value::Tagged(tagged) => apply(&mut tagged.value),
        _ => Ok(()),
    }
}

/// Adds the keys that a mapping does not have yet; of several mappings the first one wins.
/// Each has its own merge keys applied first, so that what it brings in is whole.
fn merge(mapping: &mut Mapping, merged: Value) -> Result<(), serde_yaml::Error> {
    let sources = match merged {
        Value::Sequence(several) => several,
        one => vec![one],
    };
    for mut source in sources {
        apply(&mut source)?;
        let Value::Mapping(source) = source else {
            let what = "a merge key `<<` takes a mapping or a list of mappings";
            return Err(serde_yaml::Error::custom(what));
        };
        for (key, value) in source {
            mapping.entry(key).or_insert(value);
        }
    }
    Ok(())
}

/// How many letters must be added, removed or changed to make one text of the other: tells a
/// misspelt key from a foreign one.
pub fn edit_distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, from) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (at, to) in other.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_letters() {
        for (one, other, letters) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abd", "abc", 1),
            ("ca", "abc", 3),
        ] {
            assert_eq!(edit_distance(one, other), letters);
            assert_eq!(edit_distance(other, one), letters);
        }
    }

    fn read(text: &str) -> Result<Value, serde_yaml::Error> {
        from_yaml(text.as_bytes())
    }

    #[test]
    fn a_merge_key_that_an_escape_spells_is_applied_too() {
        for key in [r#""\x3c<""#, r#""<\u003C""#, r#""\x3c\x3c""#] {
            let value = read(&format!("x: &x {{b: 2}}\nlist: [{{{key}: *x, a: 1}}]")).unwrap();
            assert_eq!(
                value["list"],
                read("list: [{a: 1, b: 2}]").unwrap()["list"],
                "{key}"
            );
        }
    }

    #[test]
    fn a_key_with_a_tag_is_refused_at_any_depth() {
        for text in ["!x a: 1", "list: [{b: {!x a: 1}}]", "? !x {a: 1}\n: 2"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("a: !x 1\nb: what! a: 1").is_err());
        assert!(read("a: wow!").is_ok());
    }

    #[test]
    fn merge_keys_bring_in_what_is_not_there_at_any_depth() {
        let plain = read("list: [{a: 1, b: 2, c: 3}]").unwrap();
        for merged in [
            "x: &x {b: 2, c: 3}\nlist: [{<<: *x, a: 1}]",
            "x: &x {a: 9, b: 2, c: 3}\nlist: [{a: 1, <<: *x}]",
            "x: &x {b: 2}\ny: &y {b: 7, c: 3}\nlist: [{a: 1, <<: [*x, *y]}]",
            "x: &x {c: 3, b: 9}\ny: &y {<<: *x, b: 2}\nlist: [{<<: *y, a: 1}]",
            "x: &x {c: 3}\ny: &y {<<: [*x], b: 2}\nlist:\n- <<: [*y]\n  a: 1",
            "list: [{\"<<\": {b: 2, c: 3}, a: 1}]",
        ] {
            let value = read(merged).unwrap();
            assert_eq!(value["list"], plain["list"], "{merged}");
        }
    }

    #[test]
    fn a_merge_key_of_anything_else_is_refused() {
        for wrong in [
            "a: {<<: 1}",
            "a: {<<: [1]}",
            "a: {<<: null}",
            "- {<<: [[{b: 1}]]}",
        ] {
            assert!(read(wrong).unwrap_err().to_string().contains("merge key"));
        }
    }

    #[test]
    fn a_doubled_key_is_refused_with_and_without_a_merge_key() {
        for wrong in ["a: {b: 1, b: 2}", "x: &x {c: 1}\na: {b: 1, b: 2, <<: *x}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

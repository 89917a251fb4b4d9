//! What YAML documents are asked for, by `serde_yaml`'s values alone.

use serde_yaml::Value;

/// The law of readers: no merge key is left over, and no key has a tag, so that none hides another.
///
/// # Panics
/// If one is.
pub fn hides_nothing(value: &Value) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                assert!(
                    key.as_str() != Some("<<"),
                    "a merge key is left over: {value:?}"
                );
                assert!(!matches!(key, Value::Tagged(_)), "a key has a tag: {key:?}");
                hides_nothing(value);
            }
        }
        Value::Sequence(items) => items.iter().for_each(hides_nothing),
        Value::Tagged(tagged) => hides_nothing(&tagged.value),
        _ => {}
    }
}

/// Whether every scalar in it, keys too, is a text.
pub fn has_texts_alone(value: &Value) -> bool {
    match value {
        Value::Mapping(mapping) => mapping
            .iter()
            .all(|(key, value)| has_texts_alone(key) && has_texts_alone(value)),
        Value::Sequence(items) => items.iter().all(has_texts_alone),
        Value::Tagged(tagged) => has_texts_alone(&tagged.value),
        value => value.is_string(),
    }
}

/// The mappings of the list at a key of a document; `None` for anything else.
pub fn entries<'d>(document: &'d Value, key: &str) -> Option<Vec<&'d Value>> {
    let entries: Vec<_> = field(document, key)?.as_sequence()?.iter().collect();
    entries
        .iter()
        .all(|entry| entry.is_mapping())
        .then_some(entries)
}

/// The text at a key of a mapping. A number or a truth value is none.
pub fn text<'d>(mapping: &'d Value, key: &str) -> Option<&'d str> {
    field(mapping, key)?.as_str()
}

/// Whether a key of a mapping holds this text. A scalar that YAML takes for a number, a truth value
/// or null is a text to a reader that wants one: of those only that they are there.
pub fn says(mapping: &Value, key: &str, text: &str) -> bool {
    field(mapping, key).is_some_and(|value| is_text(value, text))
}

/// Whether a key of a mapping holds the list of these texts.
pub fn lists(mapping: &Value, key: &str, texts: &[String]) -> bool {
    let list = field(mapping, key).and_then(Value::as_sequence);
    list.is_some_and(|list| {
        list.len() == texts.len()
            && list
                .iter()
                .zip(texts)
                .all(|(value, text)| is_text(value, text))
    })
}

fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Tagged(tagged) => is_text(&tagged.value, text),
        Value::Mapping(_) | Value::Sequence(_) => false,
        _ => true,
    }
}

fn field<'d>(mapping: &'d Value, key: &str) -> Option<&'d Value> {
    mapping.as_mapping()?.get(key)
}

//! `_passed.flag`: the digest that a gate states for itself.
//!
//! Two forms, and nothing between them:
//!
//! ```text
//! sha256_hex = 77970eee…bc2f72        one line: field, " = ", hex64; LF may end it
//! {"sha256_hex": "77970eee…bc2f72"}   a JSON object with that field; other fields are not evidence
//! ```
//!
//! Hex is lowercase by definition. Upper case is refused rather than folded, and so is
//! CRLF: the engine never writes them, so whoever did was not the engine.

use std::collections::BTreeMap;

use oracle_store::{Hex64, from_json};
use serde_json::Value;

/// The digest in `flag`, or in a sentence why it states none.
pub(crate) fn parse_flag(flag: &[u8], digest_field: &str) -> Result<Hex64, String> {
    let text = std::str::from_utf8(flag).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.trim_start().starts_with('{') {
        let fields: BTreeMap<String, Value> =
            from_json(text.as_bytes()).map_err(|error| format!("its JSON is invalid ({error})"))?;
        let value = fields.get(digest_field);
        let digest = value.ok_or_else(|| format!("its JSON has no field `{digest_field}`"))?;
        let digest = digest
            .as_str()
            .ok_or_else(|| format!("`{digest_field}` is not a string"))?;
        return hex64(digest_field, digest);
    }
    let line = text.strip_suffix('\n').unwrap_or(text);
    let digest = line
        .strip_prefix(digest_field)
        .and_then(|rest| rest.strip_prefix(" = "))
        .ok_or_else(|| format!("it is not one line `{digest_field} = <hex64>`"))?;
    hex64(digest_field, digest)
}

fn hex64(digest_field: &str, digest: &str) -> Result<Hex64, String> {
    Hex64::parse(digest).ok_or_else(|| format!("`{digest_field}` is not 64 lowercase hex digits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_taken_only_if_it_is_exactly_the_form(
            line in "(sha256_hex|SHA256_HEX)?[ \t]{0,2}[=:]?[ \t]{0,2}[0-9a-fA-F]{63,65}[ \r\n]{0,3}",
        ) {
            if let Ok(digest) = parse_flag(line.as_bytes(), "sha256_hex") {
                let exact = ["", "\n"].map(|end| format!("sha256_hex = {digest}{end}"));
                prop_assert!(exact.contains(&line));
            }
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(parse_flag(&bytes, "sha256_hex").is_err());
        }
    }
}

//! JSON string literals.

/// Appends text as a JSON string, escaping only what JSON must have escaped.
pub(crate) fn append_string(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    out.push(b'"');
    while let Some(at) = first_escaped(rest) {
        out.extend_from_slice(&rest[..at]);
        append_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends text of which [`needs_escape`] is known to be false.
pub(crate) fn append_clean_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends `"name":`.
pub(crate) fn append_name(name: &str, out: &mut Vec<u8>) {
    append_string(name, out);
    out.push(b':');
}

/// Whether any byte of a text must be escaped.
pub(crate) fn needs_escape(text: &[u8]) -> bool {
    // Whole chunks without an early exit are what compilers turn into vector instructions.
    let (chunks, rest) = text.as_chunks::<32>();
    let dirty = |chunk: &[u8]| {
        chunk
            .iter()
            .fold(false, |dirty, &byte| dirty | is_escaped(byte))
    };
    chunks.iter().any(|chunk| dirty(chunk)) || dirty(rest)
}

fn first_escaped(text: &[u8]) -> Option<usize> {
    if !needs_escape(text) {
        return None;
    }
    text.iter().position(|&byte| is_escaped(byte))
}

const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn append_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        append_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_control_character_is_escaped() {
        for character in (0..=0x7f_u8).map(char::from) {
            let text = format!("a long enough run before {character}and after");
            assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_escaped_as_serde_json_does(text in "(?s).{0,80}") {
            let expected = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(needs_escape(text.as_bytes()), expected.len() != text.len() + 2);
            prop_assert_eq!(string(&text), expected);
        }
    }
}

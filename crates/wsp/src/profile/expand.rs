//! `${VAR}` and `${VAR:-default}` in the scalars that WSP reads.

/// Where variables come from: the process environment in production, a closure
/// in tests.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// Expands every `${VAR}` and `${VAR:-default}` of one scalar.
///
/// A variable that is unset (or empty) and has no default makes the whole value
/// absent: `None`. A `${` without its `}` is literal text, as in a shell's
/// single quotes.
///
/// | text | `V` | result |
/// |---|---|---|
/// | `a${V}b` | `x` | `axb` |
/// | `${V}` | unset | absent |
/// | `${V:-d}` | unset or empty | `d` |
/// | `plain` | | `plain` |
pub(super) fn expand(text: &str, env: Env<'_>) -> Option<String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start + 2..].find('}') else {
            break;
        };
        expanded.push_str(&rest[..start]);
        let inner = &rest[start + 2..start + 2 + length];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        match env(name).filter(|value| !value.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(default?),
        }
        rest = &rest[start + 2 + length + 1..];
    }
    expanded.push_str(rest);
    Some(expanded)
}

/// Whether any part of the scalar comes from the environment.
pub(super) fn names_a_variable(text: &str) -> bool {
    text.find("${")
        .is_some_and(|start| text[start..].contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn set_variables_are_replaced_and_unset_ones_make_the_value_absent() {
        assert_eq!(expand("a${SET}b${SET}", &env).as_deref(), Some("axbx"));
        assert_eq!(expand("a${UNSET}b", &env), None);
        assert_eq!(expand("${EMPTY}", &env), None);
    }

    #[test]
    fn defaults_stand_in_for_unset_and_empty_ones_only() {
        assert_eq!(expand("${UNSET:-d}", &env).as_deref(), Some("d"));
        assert_eq!(expand("${EMPTY:-d}", &env).as_deref(), Some("d"));
        assert_eq!(expand("${SET:-d}", &env).as_deref(), Some("x"));
        assert_eq!(expand("${UNSET:-}", &env).as_deref(), Some(""));
    }

    #[test]
    fn an_open_brace_without_its_close_is_text() {
        assert_eq!(expand("a${SET", &env).as_deref(), Some("a${SET"));
        assert!(!names_a_variable("a${SET"));
        assert!(names_a_variable("a${SET}"));
    }
}

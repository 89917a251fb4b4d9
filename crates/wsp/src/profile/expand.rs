//! `${VAR}` and `${VAR:-default}` in the scalars that WSP reads.

use serde::Deserialize;

/// Where variables come from: the process environment in production, a closure
/// in tests.
pub type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// A scalar, parsed: text and variables in their order.
///
/// A default is a template of its own, so it may name variables with defaults in turn.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable {
        name: String,
        default: Option<Template>,
    },
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Template {
    /// Parses a scalar.
    ///
    /// # Errors
    /// What is wrong, in words that follow the key's name: a `${` without its `}`, or a
    /// variable's name that a shell would read as something else (`${A-b}`, `${A:+b}`).
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (template, rest) = Self::parse_until_close(text, 0)?;
        debug_assert!(rest.is_empty(), "only a default ends before the text does");
        Ok(template)
    }

    /// Parses up to the end of the text, or, inside of `depth` defaults, of the innermost one;
    /// answers what stands behind the `}` of that default.
    fn parse_until_close(text: &str, depth: usize) -> Result<(Self, &str), String> {
        let in_default = depth > 0;
        if depth > DEEPEST {
            return Err(format!(
                "has defaults inside of more than {DEEPEST} defaults"
            ));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        loop {
            let open = rest.find("${");
            let close = rest.find('}').filter(|_| in_default);
            match (open, close) {
                (Some(open), close) if close.is_none_or(|close| open < close) => {
                    push_text(&mut pieces, &rest[..open]);
                    let (variable, behind) = variable(&rest[open + 2..], depth)?;
                    pieces.push(variable);
                    rest = behind;
                }
                (_, Some(close)) => {
                    push_text(&mut pieces, &rest[..close]);
                    return Ok((Self { pieces }, &rest[close + 1..]));
                }
                _ if in_default => return Err(UNCLOSED.to_owned()),
                _ => {
                    push_text(&mut pieces, rest);
                    return Ok((Self { pieces }, ""));
                }
            }
        }
    }

    /// The text with every variable replaced.
    ///
    /// A variable that is unset (or empty) and has no default makes the whole value
    /// absent: `None`.
    ///
    /// | text | `V` | `W` | result |
    /// |---|---|---|---|
    /// | `a${V}b` | `x` | | `axb` |
    /// | `${V}` | unset | | absent |
    /// | `${V:-d}` | unset or empty | | `d` |
    /// | `${V:-${W}/d}` | unset | `y` | `y/d` |
    /// | `${V:-${W}}` | unset | unset | absent |
    /// | `plain` | | | `plain` |
    pub(super) fn expand(&self, env: Env<'_>) -> Option<String> {
        self.pieces.iter().try_fold(String::new(), |text, piece| {
            Some(match piece {
                Piece::Text(piece) => text + piece,
                Piece::Variable { name, default } => {
                    match env(name).filter(|value| !value.is_empty()) {
                        Some(value) => text + &value,
                        None => text + &default.as_ref()?.expand(env)?,
                    }
                }
            })
        })
    }
}

/// Stands for what the environment holds, where a template is only looked at.
pub(super) const FROM_ENVIRONMENT: char = '\u{E000}';

impl Template {
    /// The text with [`FROM_ENVIRONMENT`] for every variable; with `defaults`, only for
    /// those without a default, and the others as if they were unset.
    pub(super) fn unexpanded(&self, defaults: bool) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable {
                default: Some(default),
                ..
            } if defaults => default.unexpanded(true),
            Piece::Variable { .. } => FROM_ENVIRONMENT.to_string(),
        });
        pieces.collect()
    }

    /// The defaults of the template's own variables, not those inside of defaults.
    pub(super) fn defaults(&self) -> impl Iterator<Item = &Template> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { default, .. } => default.as_ref(),
            Piece::Text(_) => None,
        })
    }
}

/// The defaults that a default may lie in: each takes room on the stack, and none of people takes
/// more than a few.
const DEEPEST: usize = 32;
const UNCLOSED: &str = "has a `${` without its `}`";

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Parses a variable, inside of `depth` defaults, from behind its `${`; answers what stands behind
/// its `}`.
fn variable(text: &str, depth: usize) -> Result<(Piece, &str), String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let end = text.find(|c| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let (default, behind) = if let Some(default) = rest.strip_prefix(":-") {
        let (default, behind) = Template::parse_until_close(default, depth + 1)?;
        (Some(default), behind)
    } else if let Some(behind) = rest.strip_prefix('}') {
        (None, behind)
    } else if rest.contains('}') {
        return Err(format!(
            "has `${{{name}` followed by neither `}}` nor `:-`; only ${{VAR}} and ${{VAR:-default}} are expanded"
        ));
    } else {
        return Err(UNCLOSED.to_owned());
    };
    if name.is_empty() {
        return Err("has a `${` without a variable's name".to_owned());
    }
    let name = name.to_owned();
    Ok((Piece::Variable { name, default }, behind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("x".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn expand(text: &str) -> Option<String> {
        Template::parse(text).unwrap().expand(&env)
    }

    #[test]
    fn set_variables_are_replaced_and_unset_ones_make_the_value_absent() {
        assert_eq!(expand("a${SET}b${SET}").as_deref(), Some("axbx"));
        assert_eq!(expand("a${UNSET}b"), None);
        assert_eq!(expand("${EMPTY}"), None);
    }

    #[test]
    fn defaults_stand_in_for_unset_and_empty_ones_only() {
        assert_eq!(expand("${UNSET:-d}").as_deref(), Some("d"));
        assert_eq!(expand("${EMPTY:-d}").as_deref(), Some("d"));
        assert_eq!(expand("${SET:-d}").as_deref(), Some("x"));
        assert_eq!(expand("${UNSET:-}").as_deref(), Some(""));
    }

    #[test]
    fn a_default_may_name_variables_with_defaults_in_turn() {
        for (text, expanded) in [
            ("${UNSET:-${SET}}", Some("x")),
            ("${UNSET:-${SET}/d}/e", Some("x/d/e")),
            ("${UNSET:-a${EMPTY:-b${SET}c}d}e", Some("abxcde")),
            ("${UNSET:-${EMPTY:-${UNSET:-d}}}", Some("d")),
            ("${SET:-${UNSET}}", Some("x")),
            ("${UNSET:-${UNSET}}", None),
            ("a}b{c}", Some("a}b{c}")),
            ("$SET $", Some("$SET $")),
        ] {
            assert_eq!(expand(text).as_deref(), expanded, "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_variable_is_refused() {
        for text in [
            "a${SET",
            "${UNSET:-${SET}",
            "${UNSET:-d",
            "${",
            "${}",
            "${:-d}",
            "${SET-d}",
            "${SET:+d}",
            "${SET:?d}",
            "${ SET }",
            "${${SET}}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn defaults_that_nest_without_end_are_refused() {
        let nested = |depth| format!("{}d{}", "${A:-".repeat(depth), "}".repeat(depth));
        assert_eq!(expand(&nested(DEEPEST)).as_deref(), Some("d"));
        for depth in [DEEPEST + 1, 300_000] {
            assert!(Template::parse(&nested(depth)).is_err(), "{depth}");
        }
    }

    #[test]
    fn a_value_from_the_environment_is_not_expanded_again() {
        let env = |_: &str| Some("${SET}".to_owned());
        let template = Template::parse("${A}").unwrap();
        assert_eq!(template.expand(&env).as_deref(), Some("${SET}"));
    }
}

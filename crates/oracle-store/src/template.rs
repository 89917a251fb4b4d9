//! Path templates: `data/x/seed={seed}/part-*.parquet` and the tokens that fill them.

use std::collections::BTreeMap;

use crate::error::{Error, ReasonCode};
use crate::receipt::RunReceipt;
use model::ScenarioId;

/// The values that a world gives to the tokens of a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(BTreeMap<&'static str, String>);

impl Tokens {
    /// The tokens that the run receipt gives: all but the scenario.
    pub fn of_run(receipt: &RunReceipt) -> Self {
        Self(BTreeMap::from([
            (
                "manifest_fingerprint",
                receipt.manifest_fingerprint.to_string(),
            ),
            ("parameter_hash", receipt.parameter_hash.to_string()),
            ("run_id", receipt.run_id.to_string()),
            ("seed", receipt.seed.to_string()),
        ]))
    }

    /// The same tokens and the scenario's.
    #[must_use]
    pub fn with_scenario(mut self, scenario_id: &ScenarioId) -> Self {
        self.0.insert("scenario_id", scenario_id.to_string());
        self
    }

    /// The value of a token, if this world has one.
    pub fn get(&self, token: &str) -> Option<&str> {
        self.0.get(token).map(String::as_str)
    }
}

/// Fills a template's `{tokens}`; white space around it is not part of it.
///
/// # Errors
/// `TEMPLATE_TOKEN_MISSING` if a token has no value in this world or is not closed.
pub fn render(template: &str, tokens: &Tokens) -> Result<String, Error> {
    let template = template.trim();
    let missing = |what: String| Error::new(ReasonCode::TemplateTokenMissing, what).field(template);
    let mut rendered = String::with_capacity(template.len() + 128);
    let mut rest = template;
    while let Some((before, from_token)) = rest.split_once('{') {
        let (token, after) = from_token
            .split_once('}')
            .ok_or_else(|| missing("A path template has a token that is not closed".to_owned()))?;
        let value = tokens.get(token).ok_or_else(|| {
            missing(format!(
                "A path template needs {{{token}}}, which this world does not have"
            ))
        })?;
        rendered.push_str(before);
        rendered.push_str(value);
        rest = after;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tokens() -> Tokens {
        let receipt = serde_json::json!({
            "run_id": "0".repeat(32), "manifest_fingerprint": "a".repeat(64),
            "parameter_hash": "b".repeat(64), "seed": 7,
        });
        let receipt = RunReceipt::parse(receipt.to_string().as_bytes()).unwrap();
        Tokens::of_run(&receipt).with_scenario(&ScenarioId::parse("base line").unwrap())
    }

    #[test]
    fn tokens_are_filled_and_a_trailing_newline_is_dropped() {
        assert_eq!(
            render("d/seed={seed}/{scenario_id}/{seed}.x\n", &tokens()).unwrap(),
            "d/seed=7/base line/7.x"
        );
        assert_eq!(render("plain/", &tokens()).unwrap(), "plain/");
    }

    #[test]
    fn a_token_without_a_value_is_refused() {
        for template in ["d/{utc_day}/x", "d/{seed", "d/{}/x"] {
            let error = render(template, &tokens()).unwrap_err();
            assert_eq!(error.code(), ReasonCode::TemplateTokenMissing, "{template}");
            assert!(error.to_string().contains(template), "{error}");
        }
    }
}

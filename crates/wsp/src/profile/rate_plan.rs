//! The platform's rate plan: a JSON list of segments, each with its rate from an offset on.

use replay::{RateStep, RateSteps};
use serde::Deserialize;

/// One segment as `WSP_RATE_PLAN_JSON` has it. `burst_seconds` and `initial_tokens` are read and
/// mean nothing: no burst is ever allowed here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    #[serde(default)]
    start_offset_seconds: f64,
    #[serde(alias = "rate_per_second")]
    target_eps: f64,
    /// A ramp to this rate until the next segment; the platform itself has none.
    ramp_to_eps: Option<f64>,
    #[serde(default, rename = "burst_seconds")]
    _burst_seconds: f64,
    #[serde(default, rename = "initial_tokens")]
    _initial_tokens: f64,
}

/// The steps of a rate plan. As at the platform, segments are taken in the order of their offsets,
/// the first one holds from the beginning, and of two at one offset the later one counts.
///
/// # Errors
/// What is wrong, in words that follow the variable's name.
pub(super) fn steps_of(json: &str) -> Result<RateSteps, String> {
    let segments: Vec<Segment> = serde_json::from_str(json)
        .map_err(|fault| format!("is no list of segments with `target_eps`: {fault}"))?;
    let mut steps: Vec<RateStep> = Vec::with_capacity(segments.len());
    let mut segments = segments;
    segments.sort_by(|a, b| a.start_offset_seconds.total_cmp(&b.start_offset_seconds));
    for segment in segments {
        let step = RateStep::new(segment.start_offset_seconds, segment.target_eps)
            .ramping_to(segment.ramp_to_eps);
        match steps.last_mut() {
            Some(last) if last.offset_s.total_cmp(&step.offset_s).is_eq() => *last = step,
            _ => steps.push(step),
        }
    }
    match steps.first_mut() {
        // Its rate holds until then, and the ramp is as steep as the plan says.
        Some(&mut first) if first.ramp_to.is_some() && first.offset_s > 0.0 => {
            steps.insert(0, RateStep::new(0.0, first.rate));
        }
        Some(first) => first.offset_s = 0.0,
        None => {}
    }
    RateSteps::new(steps).map_err(|fault| format!("is unusable: {fault}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn segments_become_steps_from_the_campaigns_start() {
        let plan = r#"[
            {"start_offset_seconds": 60, "target_eps": 500, "burst_seconds": 0.25},
            {"start_offset_seconds": 0, "target_eps": 100, "initial_tokens": 0.25},
            {"start_offset_seconds": 60.0, "rate_per_second": 300}
        ]"#;
        assert_eq!(steps_of(plan).unwrap().to_string(), "0:100,60:300");
        let ramp = r#"[{"target_eps": 1, "ramp_to_eps": 9}, {"start_offset_seconds": 4, "target_eps": 9}]"#;
        assert_eq!(steps_of(ramp).unwrap().to_string(), "0:1..9,4:9");
        let ramp_late = r#"[{"start_offset_seconds": 2, "target_eps": 1, "ramp_to_eps": 9},
            {"start_offset_seconds": 4, "target_eps": 9}]"#;
        assert_eq!(steps_of(ramp_late).unwrap().to_string(), "0:1,2:1..9,4:9");
        let late = r#"[{"start_offset_seconds": 5, "target_eps": 7}]"#;
        assert_eq!(steps_of(late).unwrap().to_string(), "7");
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        for plan in [
            "",
            "{}",
            "[]",
            "[1]",
            r#"[{"start_offset_seconds": 0}]"#,
            r#"[{"target_eps": 0}]"#,
            r#"[{"target_eps": 1, "ramp_to_eps": 9}]"#,
            r#"[{"target_eps": -5}]"#,
            r#"[{"target_eps": 5, "target_epps": 6}]"#,
            r#"[{"start_offset_seconds": 0, "target_eps": "fast"}]"#,
        ] {
            assert!(steps_of(plan).is_err(), "{plan}");
        }
    }
}

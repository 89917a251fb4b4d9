//! What each answer of a gate means.

use proptest::prelude::*;

use super::*;

fn answer(status: u16, body: &[u8]) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: Bytes::copy_from_slice(body),
        overlong: false,
        location: None,
    }
}

fn verdict(status: u16, body: &str) -> Verdict {
    judge(&answer(status, body.as_bytes()), &[])
}

#[test]
fn a_2xx_with_a_known_decision_is_an_acknowledgement() {
    for (body, decision) in [
        (r#"{"decision":"ADMIT"}"#, Decision::Admit),
        (
            r#" {"receipt":{"a":[1]},"decision":"DUPLICATE","n":1} "#,
            Decision::Duplicate,
        ),
        ("\n{\"decision\":\"QUARANTINE\"}\n", Decision::Quarantine),
        (r#"{"decision":"\u0041DMIT"}"#, Decision::Admit),
        ("\u{feff}{\"decision\":\"ADMIT\"}", Decision::Admit),
    ] {
        assert_eq!(
            verdict(200, body),
            Verdict::Acknowledged(decision),
            "{body}"
        );
        assert_eq!(
            verdict(202, body),
            Verdict::Acknowledged(decision),
            "{body}"
        );
    }
}

#[test]
fn a_2xx_without_a_known_decision_is_unknown() {
    for body in [
        "",
        "OK",
        "null",
        "{}",
        r#""ADMIT""#,
        r#"["ADMIT"]"#,
        r#"{"decision":"admit"}"#,
        r#"{"decision":"REJECT"}"#,
        r#"{"decision":null}"#,
        r#"{"decision":["ADMIT"]}"#,
        r#"{"decision":{"ADMIT":null}}"#,
        r#"{"decision":"ADMIT","decision":"ADMIT"}"#,
        r#"{"decision":"ADMIT"} trailing"#,
        r#"{"decision":"ADMIT""#,
        r#"{"body":{"decision":"ADMIT"}}"#,
    ] {
        assert!(matches!(verdict(200, body), Verdict::Unknown(_)), "{body}");
    }
}

#[test]
fn the_beginning_of_an_overlong_answer_is_no_acknowledgement() {
    let mut answer = answer(200, br#"{"decision":"ADMIT"}"#);
    answer.overlong = true;
    assert!(matches!(judge(&answer, &[]), Verdict::Unknown(_)));
}

#[test]
fn every_status_has_its_verdict() {
    let admit = r#"{"decision":"ADMIT"}"#;
    for status in 100..=999 {
        let verdict = verdict(status, admit);
        let as_expected = match status {
            200..=299 | 400 => verdict == Verdict::Acknowledged(Decision::Admit),
            429 | 503 => matches!(verdict, Verdict::Backpressure { .. }),
            408 | 500..=599 => matches!(verdict, Verdict::Retry(_)),
            _ => matches!(verdict, Verdict::Rejected(_)),
        };
        assert!(as_expected, "{status}: {verdict:?}");
    }
}

/// What an answer of the platform's gates comes to, in a word.
fn word(status: u16, body: &str) -> &'static str {
    match verdict(status, body) {
        Verdict::Acknowledged(decision) => decision.as_str(),
        Verdict::Backpressure { .. } => "slow down",
        Verdict::Retry(_) => "failed",
        Verdict::Away(_) => "away",
        Verdict::InDoubt(_) => "in doubt",
        Verdict::Rejected(refusal) if refusal.judges_the_sender() => "sender",
        Verdict::Rejected(_) => "refused",
        Verdict::Unknown(_) => "unknown",
    }
}

#[test]
fn every_answer_of_the_platforms_gates_is_judged_by_what_it_means() {
    let quarantine = |code: &str| {
        format!(
            r#"{{"decision":"QUARANTINE","receipt":{{"reason_codes":["{code}"]}},"receipt_ref":"r/1"}}"#
        )
    };
    let (schema, ambiguous, internal) = (
        quarantine("SCHEMA_FAIL"),
        quarantine("PUBLISH_AMBIGUOUS"),
        quarantine("INTERNAL_ERROR"),
    );
    let said = |error: &str, reason: &str| format!(r#"{{"error":"{error}","reason":"{reason}"}}"#);
    let admit = r#"{"decision":"ADMIT","receipt":{"pins":{}},"receipt_ref":"r/1"}"#;
    let (of_local, of_edge) = (
        [
            (200, admit, "ADMIT"),
            (200, r#"{"decision":"DUPLICATE"}"#, "DUPLICATE"),
            (200, &schema, "QUARANTINE"),
            (200, &ambiguous, "in doubt"),
            (200, &internal, "in doubt"),
            (400, r#"{"error":"PUBLISH_IN_FLIGHT_RETRY"}"#, "in doubt"),
            (400, r#"{"error":"PUBLISH_AMBIGUOUS_RETRY"}"#, "in doubt"),
            (400, r#"{"error":"IG_UNHEALTHY"}"#, "away"),
            (401, r#"{"error":"UNAUTHORIZED"}"#, "sender"),
            (429, r#"{"error":"RATE_LIMITED"}"#, "slow down"),
            (
                400,
                "<!doctype html><title>400 Bad Request</title>",
                "refused",
            ),
            (500, r#"{"error":"INTERNAL_ERROR"}"#, "failed"),
        ],
        [
            (202, admit, "ADMIT"),
            (
                202,
                r#"{"decision":"DUPLICATE","body_size_bytes":9}"#,
                "DUPLICATE",
            ),
            (400, &schema, "QUARANTINE"),
            (400, &ambiguous, "in doubt"),
            (
                503,
                &said("retry_required", "PUBLISH_IN_FLIGHT_RETRY"),
                "in doubt",
            ),
            (
                503,
                &said("retry_required", "PUBLISH_AMBIGUOUS_RETRY"),
                "in doubt",
            ),
            (
                503,
                &said("ingress_publish_failed", "IG_UNHEALTHY:bus"),
                "away",
            ),
            (
                503,
                &said("ingress_publish_failed", "KeyError"),
                "slow down",
            ),
            (401, &said("unauthorized", "missing_api_key"), "sender"),
            (429, "", "slow down"),
            (413, r#"{"error":"payload_too_large"}"#, "refused"),
            (503, "", "slow down"),
        ],
    );
    for (status, body, meaning) in of_local.into_iter().chain(of_edge) {
        assert_eq!(word(status, body), meaning, "{status} {body}");
    }
}

#[test]
fn what_says_nothing_of_the_kind_is_judged_by_its_status() {
    for (status, body, meaning) in [
        (409, r#"{"error":"CONFLICT"}"#, "refused"),
        (422, r#"{"error":"IG_HEALTHY"}"#, "refused"),
        (422, r#"{"decision":"ADMIT"}"#, "refused"),
        (400, r#"{"decision":"REJECT"}"#, "refused"),
        (400, r#"{"reason":"IG_UNHEALTHY"}"#, "refused"),
        (400, r#"{"detail":{"error":"IG_UNHEALTHY"}}"#, "refused"),
        (502, r#"{"error":"IG_UNHEALTHY"}"#, "away"),
        (403, r#"{"error":"IG_UNHEALTHY"}"#, "sender"),
        (200, r#"{"error":"IG_UNHEALTHY"}"#, "unknown"),
        (409, r#"{"error":"PUBLISH_IN_FLIGHT_RETRY"}"#, "in doubt"),
        (408, "", "failed"),
    ] {
        assert_eq!(word(status, body), meaning, "{status} {body}");
    }
}

#[test]
fn a_refusal_names_reason_codes_that_stand_behind_its_excerpt() {
    let body = format!(
        r#"{{"payload":"{}","receipt":{{"reason_codes":["SCHEMA_FAIL","\u001bX"]}}}}"#,
        "x".repeat(300)
    );
    let Verdict::Rejected(refusal) = verdict(422, &body) else {
        panic!("a 422 is a rejection")
    };
    assert_eq!(refusal.reason_codes, ["SCHEMA_FAIL", r"\u{1b}X"]);
    let text = refusal.to_string();
    assert!(
        text.ends_with(r"(reason codes: SCHEMA_FAIL, \u{1b}X)"),
        "{text}"
    );
}

#[test]
fn only_what_would_refuse_every_event_judges_the_sender() {
    let judging: Vec<u16> = (100..=999)
        .filter(|&status| {
            GateRefusal {
                status,
                excerpt: String::new(),
                reason_codes: Vec::new(),
            }
            .judges_the_sender()
        })
        .filter(|status| !(300..=399).contains(status))
        .collect();
    assert_eq!(judging, [401, 403, 404, 405, 407]);
    assert!(
        GateRefusal {
            status: 302,
            excerpt: String::new(),
            reason_codes: Vec::new(),
        }
        .judges_the_sender()
    );
}

#[test]
fn a_redirect_names_its_location_and_what_is_invisible_is_spelled_out() {
    let mut redirect = answer(307, b"\xef\xbb\xbfgo");
    redirect.location = Some(Bytes::from_static(b"https://other/\x1b"));
    let Verdict::Rejected(refusal) = judge(&redirect, &[]) else {
        panic!("a redirect is a rejection")
    };
    let said = r"HTTP 307: Location: https://other/\u{1b} \u{feff}go";
    assert_eq!(refusal.to_string(), said);
}

#[test]
fn control_characters_never_reach_a_terminal() {
    let Verdict::Rejected(refusal) = verdict(400, "\u{1b}[2J\r\nbad\u{9b}\0") else {
        panic!("a 400 is a rejection")
    };
    assert_eq!(
        refusal.to_string(),
        r"HTTP 400: \u{1b}[2J\r\nbad\u{9b}\u{0}"
    );
}

proptest! {
    #[test]
    fn an_excerpt_is_the_first_256_characters(text in "[ -~é字😀]{0,600}") {
        let expected: String = text.chars().take(EXCERPT_CHARS).collect();
        prop_assert_eq!(excerpt(text.as_bytes()), expected);
    }

    #[test]
    fn no_body_panics_or_leaks_a_control_character(
        body in proptest::collection::vec(any::<u8>(), 0..2000)
    ) {
        let text = excerpt(&body);
        prop_assert!(!text.chars().any(char::is_control));
        judge(&answer(200, &body), &[]);
    }
}

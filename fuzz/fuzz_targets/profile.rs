//! The profile: its text, its variables, and the request that it makes.
#![no_main]

use std::path::{Path, PathBuf};

use gates::VerificationMode;
use oracle_store::Posture;
use wsp::profile::{Environment, Overrides, Profile, StreamRequest};
use wsp_fuzz::is_refusal;

const CODES: [&str; 4] = [
    "PROFILE_UNREADABLE",
    "PROFILE_INVALID",
    "PROFILE_KEY_UNKNOWN",
    "PROFILE_SECRET_LITERAL",
];
/// What the environment holds as a credential.
const SECRET: &str = "s3cr3t-0f-the-environment";

libfuzzer_sys::fuzz_target!(|text: &str| {
    let path = Path::new("config/profile.yaml");
    let parse = |text: &str| Profile::parse(text, path, &environment);
    match parse(text) {
        Ok(profile) => {
            let shown = format!("{profile:?}");
            holds_the_laws(&profile);
            // What another component keeps in the file changes nothing.
            let longer = format!("{text}\nzz_other_component: {{lanes: 3, posture: lax}}\n");
            if let Ok(other) = parse(&longer) {
                assert_eq!(
                    format!("{other:?}"),
                    shown,
                    "another component's key counts"
                );
            }
            requested(profile);
        }
        Err(error) => {
            is_refusal(&error, &CODES);
            assert!(!error.detail().is_empty());
        }
    }
});

fn environment(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some(SECRET.to_owned()),
        "N" => Some("7".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// What holds of every profile that is accepted.
fn holds_the_laws(profile: &Profile) {
    if profile.posture == Posture::Strict {
        assert!(
            profile.require_gate_pass,
            "gates are waived in strict posture"
        );
        assert_eq!(profile.gate_verification, VerificationMode::Digest);
    }
    assert!(profile.checkpoint.flush_every > 0);
    assert!(profile.push.lanes.count.get() > 0);
    if let Some(token) = &profile.auth_token {
        assert!(!token.reveal().is_empty(), "an empty token is none");
        assert!(!format!("{token:?}").contains(token.reveal()) || token.reveal().len() < 11);
    }
    // Neither a credential of the file nor one of the environment goes to the log.
    let is_shown = profile
        .warnings
        .iter()
        .any(|warning| warning.contains(SECRET));
    assert!(!is_shown, "{:?}", profile.warnings);
}

/// The request without an environment and flags, and its list of settings.
fn requested(profile: Profile) {
    let (posture, pace) = (profile.posture, profile.pace.clone());
    let request = StreamRequest::new(
        profile,
        Overrides::default(),
        PathBuf::from("/work"),
        Environment::default(),
    );
    match request {
        Ok(request) => {
            assert_eq!(
                (request.profile.posture, &request.profile.pace),
                (posture, &pace)
            );
            let tokens = request
                .settings
                .iter()
                .filter(|setting| setting.key.contains("token"));
            let secrets = tokens.filter_map(|setting| setting.value.as_deref());
            assert!(!secrets.into_iter().any(|value| value.contains(SECRET)));
        }
        Err(error) => is_refusal(&error, &["PROFILE_INVALID"]),
    }
}

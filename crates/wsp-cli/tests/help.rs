//! The command line explains itself.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn wsp_cli(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wsp-cli"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        &["stream"][..],
        &["plan"],
        &["redrive"],
        &["verify"],
        &["pack"],
        &["checkpoint", "show"],
        &["checkpoint", "reset"],
        &["control"],
        &["gate"],
        &["demo"],
        &["profile", "check"],
        &["profile", "explain"],
        &["schema"],
        &["report", "html"],
        &["completions"],
        &["man"],
    ] {
        let output = wsp_cli(&[command, &["--help"]].concat());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command:?}");
        assert!(
            help.contains("Example:\n  wsp-cli") || help.contains("Examples:\n  wsp-cli"),
            "{command:?} has no example:\n{help}"
        );
    }
}

#[test]
fn unusable_arguments_end_with_status_2_and_an_empty_standard_output() {
    for args in [
        &["stream"][..],
        &["stream", "--profile", "p", "--speedup", "-1"],
        &["stream", "--profile", "p", "--order", "by_key"],
        &["stream", "--profile", "p", "--rate", "0"],
        &["stream", "--profile", "p", "--rate", "5", "--speedup", "1"],
        &["control", "--profile", "p"],
        &["control", "pause"],
        &["stream", "--profile", "p", "--on-reject", "ignore"],
        &["fly"],
        &[],
    ] {
        let output = wsp_cli(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_profile_that_is_not_there_is_a_json_object_and_status_2() {
    let output = wsp_cli(&["plan", "--profile", "nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let refusal: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(refusal["reason"], "PROFILE_UNREADABLE");
}

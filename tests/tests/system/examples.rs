//! The examples of the library run, so that they do not rot.

use std::process::Command;

use system_tests::wsp_cli;

/// Runs an example that `cargo test --workspace` built beside the binary.
fn run(example: &str) -> String {
    let program = wsp_cli().with_file_name("examples").join(example);
    let output = Command::new(&program)
        .env_remove("PLATFORM_RUN_ID")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{example}:\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_stream_keeps_its_place_in_a_store_of_the_callers_own() {
    let said = run("own_checkpoint_store");
    assert_eq!(said.matches("2500 events").count(), 2, "{said}");
}

#[test]
fn a_stream_pushes_through_a_client_of_the_callers_own() {
    let said = run("own_push_client");
    assert_eq!(said.matches("1000 ").count(), 5, "{said}");
}

#[test]
fn a_stream_tells_a_sink_of_the_callers_own() {
    let said = run("own_progress_sink");
    assert!(said.contains("5000 acknowledged"), "{said}");
}

#[test]
fn rows_are_opened_through_a_clearance() {
    let said = run("rows_through_a_clearance");
    assert_eq!(said.matches("1000 rows of ").count(), 5, "{said}");
}

#[test]
fn an_hour_passes_by_a_clock_of_the_callers_own() {
    let said = run("own_clock");
    assert!(said.starts_with("Streamed: 5000 events"), "{said}");
}

#[test]
fn a_stream_is_steered_from_beside_it() {
    let said = run("steer_a_stream");
    assert!(said.starts_with("paused"), "{said}");
    assert!(said.contains("five more are done"), "{said}");
    assert!(said.contains("Stopped after "), "{said}");
}

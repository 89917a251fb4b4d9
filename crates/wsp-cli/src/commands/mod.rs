//! One file a command; each reads arguments, calls the library, prints.

pub mod cache;
pub mod checkpoint;
#[cfg(feature = "console")]
pub mod console;
pub mod control;
pub mod demo;
pub mod doctor;
pub mod gate;
pub mod pack;
pub mod plan;
pub mod profile;
pub mod redrive;
pub mod report;
#[cfg(feature = "console")]
pub mod report_html;
pub mod schema;
pub mod shell;
pub mod stream;
pub mod verify;

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use wsp::profile::Profile;
use wsp::{Error, Overrides, StreamRequest};

use crate::args::WorldArgs;
use crate::output;

/// The request that a world's arguments make.
pub fn request(world: WorldArgs) -> Result<StreamRequest, Error> {
    request_with(world, Overrides::default())
}

/// The request that a world's arguments make over what a command adds.
pub fn request_with(world: WorldArgs, more: Overrides) -> Result<StreamRequest, Error> {
    let profile = load_profile(&world.profile)?;
    let overrides = Overrides {
        engine_run_root: world.engine_run_root,
        oracle_pack_id: world.oracle_pack_id,
        scenario_id: world.scenario_id,
        output_ids: world.output_ids,
        stream_source: world.stream_source,
        shard: world.shard,
        catalogue: world.catalogue,
        gate_map: world.gate_map,
        platform_run_id: world.platform_run_id,
        ..more
    };
    let request = StreamRequest::of_process(profile, overrides)?;
    for warning in &request.warnings {
        tracing::warn!("{warning}");
    }
    Ok(request)
}

/// Reads a profile, and tells what is unwise about it.
pub fn load_profile(path: &Path) -> Result<Profile, Error> {
    let env = |name: &str| std::env::var(name).ok();
    let profile = Profile::load(path, &env)?;
    for warning in &profile.warnings {
        tracing::warn!("{warning}");
    }
    Ok(profile)
}

/// Prints what a command found, or why it could not: a JSON object either way.
pub fn conclude<T: Serialize>(found: Result<T, Error>) -> ExitCode {
    match found {
        Ok(found) => {
            output::print(&found);
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

/// Prints why a command could not do what it was asked to.
pub fn refuse(error: &Error) -> ExitCode {
    complain(error.code(), &error.detail());
    output::print(&json!({"status": "FAILED", "reason": error.code(), "detail": error.detail()}));
    ExitCode::from(error.class().exit_status())
}

/// Tells people, beside the JSON object for programs.
pub fn complain(reason: &str, detail: &str) {
    tracing::error!("{reason}: {detail}");
}

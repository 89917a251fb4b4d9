//! `wsp-cli pack`.

use std::process::ExitCode;

use super::{conclude, refuse, request};
use crate::args::PackArgs;

/// Packs and seals a world, once.
pub async fn run(args: PackArgs) -> ExitCode {
    match request(args.world) {
        Ok(request) => conclude(
            wsp::pack::pack_world(
                &request,
                wsp::pack::PackOptions {
                    engine_release: args.engine_release,
                    seal_status: args.seal_status,
                    with_contents: !args.no_contents,
                    dry_run: args.dry_run,
                },
            )
            .await,
        ),
        Err(error) => refuse(&error),
    }
}

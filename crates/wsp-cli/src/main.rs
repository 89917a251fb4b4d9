//! `wsp-cli`: the operator's command line of the World Stream Producer.
//!
//! Standard output carries one JSON object and nothing else; progress and logs go
//! to standard error. Exit status: 0 done, 1 failed, 2 unusable arguments or
//! profile, 3 stopped by a signal after a clean drain, 4 a threshold was broken, 130 by a second
//! signal.
//!
//! # Cargo features
//! | feature | by default | gives |
//! |---|---|---|
//! | `jemalloc` | on | the allocator whose figures of memory the documentation gives |
//! | `console` | on | `wsp-cli console` and `report html`: metrics, health, pages |
//! | `sqlite` | on | cursors in a SQLite file |
//! | `postgres` | on | cursors in PostgreSQL |
//! | `object` | on | cursors, worlds and the records of runs in buckets |
//! | `reqwest` | on | the push client that drives reqwest, for proxies |

#![allow(unreachable_pub, reason = "nothing of a binary is reachable")]

mod args;
mod commands;
mod exit_status;
mod face;
mod logging;
mod output;
mod indented;
mod plan_table;
mod progress_line;
mod progress_log;
mod signals;
mod summary;
mod quantities;

use std::process::ExitCode;
use std::time::Duration;

use clap::FromArgMatches;

use crate::args::{Cli, Command, LogFormat};
use crate::face::{ColorChoice, Face};

/// Envelopes and pages come and go by the thousand on many threads: this allocator gives
/// back what they leave (as `.cargo/config.toml` says), where the system's keeps it in
/// arenas of each thread's own.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let status = run();
    output::finish_messages();
    status
}

fn run() -> ExitCode {
    // First of all: where there is no room, the next allocation ends the process.
    if let Err(error) = wsp::check_address_space() {
        logging::start(LogFormat::Text, 0, Face::new(ColorChoice::Auto, false));
        return commands::refuse(&error);
    }
    let matches = exit_status::command_line().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let face = Face::new(cli.color, cli.quiet);
    logging::start(cli.log_format, cli.verbose, face);
    oracle_store::silence_decoder_panics();
    if let Err(error) = wsp::raise_file_handles() {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    if let Err(error) = wsp::check_threads() {
        return commands::refuse(&error);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::tell(format_args!(
                "wsp-cli: the system gave no threads to run on: {error}\n"
            ));
            return ExitCode::FAILURE;
        }
    };
    let status = runtime.block_on(async {
        signals::outlive_file_size_limit();
        match cli.command {
            Command::Stream(args) => Box::pin(commands::stream::run(*args, face)).await,
            Command::Plan(args) => Box::pin(commands::plan::run(*args, face)).await,
            Command::Redrive(args) => Box::pin(commands::redrive::run(args)).await,
            Command::Doctor(args) => Box::pin(commands::doctor::run(*args, face)).await,
            Command::Verify(args) => commands::verify::run(args).await,
            Command::Pack(args) => commands::pack::run(args).await,
            Command::Checkpoint(args) => commands::checkpoint::run(args).await,
            Command::Profile(args) => commands::profile::run(&args, face),
            Command::Schema(args) => commands::schema::run(&args),
            Command::Report(args) => commands::report::run(&args),
            Command::Completions(args) => commands::shell::completions(&args),
            Command::Man(args) => commands::shell::man(&args),
            Command::Cache(args) => commands::cache::run(args).await,
            Command::Control(args) => commands::control::run(&args, face).await,
            #[cfg(feature = "console")]
            Command::Console(args) => Box::pin(commands::console::run(args)).await,
            Command::Gate(args) => commands::gate::run(args, face).await,
            Command::Demo(args) => commands::demo::run(args).await,
        }
    });
    // A read that hangs on a thread of its own must not keep the process after a stop.
    runtime.shutdown_background();
    if output::was_lost() {
        return ExitCode::FAILURE;
    }
    status
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // A thread that was given is kept: the system may give no other later.
        .thread_keep_alive(Duration::from_hours(24 * 365))
        .enable_all()
        .build()
}

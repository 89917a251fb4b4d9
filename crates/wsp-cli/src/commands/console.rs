//! `wsp-cli console`.

use std::process::ExitCode;

use console::{Console, ConsoleOptions, Error, Token};
use serde_json::json;
use wsp::profile::control_root;

use super::{complain, load_profile, refuse};
use crate::args::ConsoleArgs;
use crate::{output, signals};

/// The variable that holds the token where no file is named.
const TOKEN_VARIABLE: &str = "WSP_CONSOLE_TOKEN";

/// Shows streams until a signal.
pub async fn run(args: ConsoleArgs) -> ExitCode {
    let mut options = ConsoleOptions::at(args.listen);
    options.runs_roots.clone_from(&args.runs_root);
    options.sockets.clone_from(&args.socket);
    options.allowed_hosts.clone_from(&args.allow_host);
    // A variable of the surroundings is for whoever names nothing else.
    let is_named = !args.runs_root.is_empty() || !args.socket.is_empty();
    if let Some(profile) = args.profile.as_ref().filter(|_| !is_named) {
        match load_profile(profile) {
            Ok(profile) => options.runs_roots.push(control_root(&profile.runs_root)),
            Err(error) => return refuse(&error),
        }
    }
    if args.allow_control {
        match token(&args) {
            Ok(token) => options.control = Some(token),
            Err(error) => return unusable(&error, 2),
        }
    }
    let console = match Console::start(options).await {
        Ok(console) => console,
        Err(error) => return unusable(&error, 1),
    };
    output::tell(format_args!(
        "console at {}; Ctrl-C ends it\n",
        console.url()
    ));
    if let Err(error) = signals::first_signal().await {
        complain("SIGNALS_UNHEARD", &error.to_string());
        return ExitCode::FAILURE;
    }
    let url = console.url();
    console.stop().await;
    output::print(&json!({"status": "STOPPED", "console": url}));
    ExitCode::SUCCESS
}

fn token(args: &ConsoleArgs) -> Result<Token, Error> {
    match &args.token_file {
        Some(file) => Token::of_file(file),
        None => Token::new(&std::env::var(TOKEN_VARIABLE).map_err(|_| {
            Error::TokenUnusable(format!(
                "--allow-control takes one from --token-file or {TOKEN_VARIABLE}"
            ))
        })?),
    }
}

fn unusable(error: &Error, status: u8) -> ExitCode {
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail.push_str(": ");
        detail.push_str(&error.to_string());
        cause = error.source();
    }
    complain(error.code().as_str(), &detail);
    output::print(&json!({"status": "FAILED", "reason": error.code().as_str(), "detail": detail}));
    ExitCode::from(status)
}

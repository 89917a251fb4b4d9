//! `wsp-cli completions` and `wsp-cli man`: what a shell and `man` are told of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use serde_json::json;

use super::complain;
use crate::args::{CompletionsArgs, ManArgs};
use crate::exit_status::command_line;
use crate::output;

/// Prints the completions of a shell: the one command whose standard output is no JSON object.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command_line(), "wsp-cli", &mut script);
    let written = io::stdout()
        .write_all(&script)
        .and_then(|()| io::stdout().flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain("OUTPUT_UNWRITABLE", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Writes a page for each command, and prints their names.
pub fn man(args: &ManArgs) -> ExitCode {
    let mut pages = Vec::new();
    let mut line = command_line();
    line.build();
    let written = fs::create_dir_all(&args.folder)
        .and_then(|()| write_pages(&line, "wsp-cli", &args.folder, &mut pages));
    match written {
        Ok(()) => {
            output::print(&json!({"status": "WRITTEN", "folder": args.folder, "pages": pages}));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let detail = format!("{}: {error}", args.folder.display());
            complain("MAN_UNWRITABLE", &detail);
            output::print(
                &json!({"status": "FAILED", "reason": "MAN_UNWRITABLE", "detail": detail}),
            );
            ExitCode::FAILURE
        }
    }
}

fn write_pages(
    command: &Command,
    name: &str,
    folder: &Path,
    pages: &mut Vec<String>,
) -> io::Result<()> {
    let file = format!("{name}.1");
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    fs::write(folder.join(&file), text)?;
    pages.push(file);
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("{name}-{}", subcommand.get_name());
        write_pages(subcommand, &name, folder, pages)?;
    }
    Ok(())
}

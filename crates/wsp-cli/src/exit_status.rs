//! The exit statuses of all commands, shown at the end of each one's `--help`.
//!
//! `docs/exit-status.md` has the same table; a test compares the two, command by command.

use clap::{Command, CommandFactory};

use crate::args::Cli;

const USAGE: (u8, &str) = (2, "unusable arguments or profile");
const ARGUMENTS: (u8, &str) = (2, "unusable arguments");
const TWICE: (u8, &str) = (130, "ended by a second signal");

/// What each status of a command means; 0 first.
const STATUSES: &[(&str, &[(u8, &str)])] = &[
    (
        "stream",
        &[
            (0, "streamed"),
            (1, "failed"),
            USAGE,
            (
                3,
                "stopped by a signal, after a clean drain and a durable last save",
            ),
            (4, "a threshold was broken"),
            TWICE,
        ],
    ),
    ("plan", &[(0, "planned"), (1, "refused"), USAGE]),
    (
        "redrive",
        &[
            (0, "nothing waits any more"),
            (1, "failed, or refused again"),
            USAGE,
            (3, "stopped by a signal"),
            TWICE,
        ],
    ),
    (
        "doctor",
        &[(0, "all works"), (1, "something is broken"), USAGE],
    ),
    (
        "verify",
        &[(0, "all evidence holds"), (1, "some does not"), USAGE],
    ),
    ("pack", &[(0, "packed"), (1, "refused or failed"), USAGE]),
    (
        "checkpoint",
        &[(0, "done"), (1, "refused or failed"), USAGE],
    ),
    (
        "profile",
        &[(0, "valid"), (1, "the output could not be written"), USAGE],
    ),
    (
        "schema",
        &[
            (0, "printed"),
            (1, "the output could not be written"),
            (2, "no such contract"),
        ],
    ),
    (
        "report",
        &[
            (0, "written; merged and complete"),
            (
                1,
                "damaged, unreadable, or not to be written; not complete, or of another plan",
            ),
            (2, "unusable arguments; no report, or a plan without ids"),
        ],
    ),
    (
        "completions",
        &[
            (0, "printed"),
            (1, "the output could not be written"),
            ARGUMENTS,
        ],
    ),
    (
        "man",
        &[
            (0, "written"),
            (1, "the folder cannot be written"),
            ARGUMENTS,
        ],
    ),
    ("cache", &[(0, "done"), (1, "refused or failed"), USAGE]),
    (
        "control",
        &[(0, "done"), (1, "refused, or no stream to be found"), USAGE],
    ),
    #[cfg(feature = "console")]
    (
        "console",
        &[(0, "ended by a signal"), (1, "it cannot listen"), USAGE],
    ),
    (
        "gate",
        &[(0, "ended by a signal"), (1, "it cannot listen"), ARGUMENTS],
    ),
    (
        "demo",
        &[
            (0, "nothing was lost; with --world-only: the world is made"),
            (1, "something was lost, or it failed"),
            ARGUMENTS,
            (3, "stopped by a signal"),
        ],
    ),
];

/// The command line, whose every command says what its exit statuses mean.
pub fn command_line() -> Command {
    let told = STATUSES
        .iter()
        .fold(Cli::command(), |cli, (name, statuses)| {
            cli.mut_subcommand(*name, |command| with_statuses(command, statuses))
        });
    told.after_help("Exit status: 0 done, 1 failed, 2 unusable arguments or profile, 3 stopped by a signal, 4 a threshold was broken, 130 ended by a second signal; see `COMMAND --help`.")
}

fn with_statuses(command: Command, statuses: &[(u8, &str)]) -> Command {
    let meanings: Vec<String> = statuses
        .iter()
        .map(|(status, meaning)| format!("  {status:<3} {meaning}"))
        .collect();
    let told = format!("Exit status:\n{}", meanings.join("\n"));
    let before = command.get_after_help().map(|help| format!("{help}\n\n"));
    command.after_help(before.unwrap_or_default() + &told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_says_what_its_statuses_mean() {
        let line = command_line();
        for command in line.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string);
            let help = help.unwrap_or_default();
            assert!(
                help.contains("Exit status:\n  0 "),
                "{}",
                command.get_name()
            );
        }
        line.debug_assert();
    }
}

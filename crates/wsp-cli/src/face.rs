//! How the command line looks to whoever reads standard error: terminal, colours, silence.

use std::io::IsTerminal;

use clap::ValueEnum;

/// Whether what is written to standard error has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// It was meant, and not all is done.
    Warning,
    /// Something must be mended.
    Bad,
}

/// The looks of one command.
#[derive(Debug, Clone, Copy)]
pub struct Face {
    /// Whether colours are written.
    pub colours: bool,
    /// Whether people watch: standard error is a terminal, and nobody asked for silence.
    pub is_watched: bool,
    /// Whether the log says how far a stream is: standard error is no terminal, and nobody asked
    /// for silence.
    pub logs_progress: bool,
    /// Whether somebody asked for silence: only warnings and errors are written.
    pub is_quiet: bool,
}

impl Face {
    /// The looks that the flags and this process's terminal make.
    pub fn new(color: ColorChoice, quiet: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let colours = match color {
            ColorChoice::Auto => {
                is_terminal && are_colours_wanted(&|name| std::env::var(name).ok())
            }
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self {
            colours,
            is_watched: is_terminal && !quiet,
            logs_progress: !is_terminal && !quiet,
            is_quiet: quiet,
        }
    }

    /// Neither colours nor a terminal.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self {
            colours: false,
            is_watched: false,
            logs_progress: false,
            is_quiet: false,
        }
    }

    /// A word in the colour of its tone, bold.
    pub fn painted(self, tone: Tone, word: &str) -> String {
        if !self.colours {
            return word.to_owned();
        }
        let colour = match tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
        };
        format!("\x1b[1;{colour}m{word}\x1b[0m")
    }
}

/// Says whether the environment allows colours: a non-empty `NO_COLOR` and `TERM=dumb` do not.
fn are_colours_wanted(env: &dyn Fn(&str) -> Option<String>) -> bool {
    env("NO_COLOR").is_none_or(|value| value.is_empty())
        && env("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_a_dumb_terminal_take_the_colours_away() {
        let wanted = |name: &str, value: &str| {
            are_colours_wanted(&|asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(wanted("TERM", "xterm") && wanted("NO_COLOR", ""));
        assert!(!wanted("TERM", "dumb") && !wanted("NO_COLOR", "1"));
    }

    #[test]
    fn always_and_never_win_over_the_terminal() {
        let painted = |choice| Face::new(choice, false).painted(Tone::Good, "word");
        assert_eq!(painted(ColorChoice::Always), "\x1b[1;32mword\x1b[0m");
        assert_eq!(painted(ColorChoice::Never), "word");
    }
}

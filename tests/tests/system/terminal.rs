//! What people see: the real binary in a terminal of tmux, captured as text, and in a pipe.
//! `scripts/ensure-tmux` installs tmux; without it these tests fail.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sandbox::{GateOptions, WorldOptions};
use system_tests::{Rig, wsp_cli};

/// Longer than a command here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// What stands on the screen once the command has ended.
const ENDED: &str = "ended with status";

/// A terminal of a tmux server of its own; dropped, the server ends.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let command = command
            .args(["-L", &self.socket, "-f", "/dev/null"])
            .args(args);
        let ran = command
            .output()
            .expect("tmux: scripts/ensure-tmux installs it");
        let told = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "tmux {args:?}: {told}");
        String::from_utf8(ran.stdout).expect("a screen is UTF-8")
    }

    /// Runs a shell line in a terminal so wide and answers the screen, colours as escapes.
    fn screen_of(rig: &Rig, columns: u16, line: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: format!("wsp-test-{}-{number}", std::process::id()),
        };
        let folder = rig.folder.path().to_str().expect("a UTF-8 path");
        let shell = format!("{line}; printf '\\n{ENDED} %s\\n' $?; sleep 600");
        let columns = columns.to_string();
        let started = [
            "new-session",
            "-d",
            "-x",
            &columns,
            "-y",
            "200",
            "-c",
            folder,
            "sh",
            "-c",
            &shell,
        ];
        terminal.tmux(&started);
        let began = Instant::now();
        loop {
            // Escapes, and lines that the terminal wrapped as they stand.
            let screen = terminal.tmux(&["capture-pane", "-p", "-e"]);
            if screen.contains(ENDED) {
                return screen;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        let _ = command.args(["-L", &self.socket, "kill-server"]).output();
    }
}

fn rig() -> Rig {
    Rig::new(
        &WorldOptions::sample().with_shape(1, 60),
        GateOptions::default(),
        &[],
    )
}

/// A command of the shell: the binary with the rig's profile, without what the machine's owner set.
fn line(rig: &Rig, variables: &str, command: &str) -> String {
    let program = wsp_cli();
    let clean = "env -u NO_COLOR -u RUST_LOG -u WSP_PROGRESS_EVERY";
    format!(
        "{clean} {variables} {} {command} --profile {}",
        quoted(&program),
        quoted(&rig.profile)
    )
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A screen without colours and other escapes.
fn plain(screen: &str) -> String {
    let mut pieces = screen.split('\x1b');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + piece.split_once('m').map_or("", |(_, rest)| rest)
    })
}

/// The summary at the end of a screen: from its headline on.
fn summary_of(screen: &str) -> Vec<String> {
    let lines: Vec<String> = plain(screen).lines().map(str::to_owned).collect();
    let headline = lines.iter().rposition(|line| line.starts_with("STREAMED"));
    let headline = headline.unwrap_or_else(|| panic!("no summary on\n{screen}"));
    let ended = lines.iter().position(|line| line.contains(ENDED)).unwrap();
    lines[headline..ended].to_vec()
}

#[test]
fn a_run_on_a_terminal_ends_with_a_coloured_summary_behind_indented_json() {
    for columns in [80, 140] {
        let rig = rig();
        let screen = Terminal::screen_of(&rig, columns, &line(&rig, "", "stream --speedup 36000"));
        assert!(screen.contains("status 0"), "{screen}");
        assert!(
            screen.contains("\x1b[1m\x1b[32mSTREAMED"),
            "bold and green:\n{screen}"
        );
        let shown = plain(&screen);
        assert!(shown.contains("\n  \"outages\": {"), "indented:\n{shown}");
        let summary = summary_of(&screen);
        let has = |name: &str| {
            summary
                .iter()
                .any(|line| line.trim_start().starts_with(name))
        };
        for name in ["events", "output", "time", "took", "late", "next"] {
            assert!(has(name), "{name} of {summary:#?}");
        }
        let lines = summary
            .iter()
            .filter(|line| !line.trim().is_empty())
            .count();
        assert!(lines <= if columns == 80 { 24 } else { 15 }, "{summary:#?}");
    }
}

#[test]
fn no_color_and_a_dumb_terminal_have_the_summary_without_colours() {
    for variables in ["NO_COLOR=1", "TERM=dumb"] {
        let rig = rig();
        let screen = Terminal::screen_of(&rig, 140, &line(&rig, variables, "stream --speedup 0"));
        assert!(
            !screen.contains("\x1b[1m\x1b[32m"),
            "{variables}:\n{screen}"
        );
        assert!(summary_of(&screen).len() > 4, "{screen}");
    }
}

#[test]
fn a_pipe_gets_one_line_of_json_and_the_terminal_keeps_the_summary() {
    let rig = rig();
    let piped = format!("{} | wc -l", line(&rig, "", "stream --speedup 0"));
    let screen = Terminal::screen_of(&rig, 140, &piped);
    let shown = plain(&screen);
    assert!(
        shown.lines().any(|line| line.trim() == "1"),
        "one line:\n{shown}"
    );
    assert!(shown.contains("STREAMED"), "{shown}");
    let off = rig.run(&["stream"], &["--speedup", "0"]);
    off.expect(0, "");
    assert!(!off.stderr.contains("\x1b["), "{}", off.stderr);
    assert!(
        !off.stderr.contains("next     "),
        "no terminal, no summary: {}",
        off.stderr
    );
}

#[test]
fn colours_come_where_they_are_asked_for_and_quiet_leaves_only_the_report() {
    let rig = rig();
    let quiet = Terminal::screen_of(&rig, 140, &line(&rig, "", "stream --speedup 0 --quiet"));
    assert!(plain(&quiet).contains("\n  \"outages\": {"), "{quiet}");
    assert!(
        !plain(&quiet)
            .lines()
            .any(|line| line.starts_with("STREAMED")),
        "{quiet}"
    );
    let never = line(&rig, "", "plan --color never");
    assert!(!Terminal::screen_of(&rig, 140, &never).contains("\x1b[1m\x1b[32mPLANNED"));
    let always = rig.run(&["plan"], &["--color", "always"]);
    assert!(
        always.stderr.contains("\x1b[1;32mPLANNED"),
        "{}",
        always.stderr
    );
}

#[test]
fn a_plan_fits_a_terminal_of_140_columns() {
    let rig = rig();
    let screen = Terminal::screen_of(&rig, 140, &line(&rig, "", "plan --speedup 600"));
    let shown = plain(&screen);
    assert!(
        shown.contains("at 600 times the speed of the world"),
        "{shown}"
    );
    let mut lines = shown.lines();
    let heads = lines
        .find(|line| line.contains("TO SEND"))
        .unwrap()
        .to_owned();
    let first = lines.next().unwrap();
    assert_eq!(
        heads.find("OUTPUT"),
        first
            .find("s3_")
            .or(first.find("s2_"))
            .or(heads.find("OUTPUT"))
    );
    assert!(first.trim_start().starts_with("60"), "{shown}");
}

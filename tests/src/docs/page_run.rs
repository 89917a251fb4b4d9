//! Runs the blocks of a page as a reader would: in a fresh copy of the checkout, at a terminal.
//!
//! The `sh` blocks of a page are one script under `script`, which gives it a terminal. What a
//! reader has is there: `wsp-cli`, and the checkout's files that commands name. What would take
//! minutes is not done: `make` says what it would do (`-n`), and `cargo run --example` runs what is
//! built (`tests/docs/bin`). `127.0.0.1` is another address of loopback for each page, so that
//! pages run side by side.

use std::fmt::{self, Write as _};
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::pages::{Block, blocks, needs, repository};
use super::transcript::{matches, plain};
use crate::postgres::{PostgresOptions, PostgresServer};
use crate::{Bucket, own_address, wsp_cli};

/// Longer than a page takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// What the checkout holds that commands of pages name.
const CHECKOUT: [&str; 5] = ["config", "contracts", "deploy", "scripts", "Makefile"];
/// Marks in what a page printed: a byte that nothing else prints.
const MARK: char = '\u{1e}';

/// Something in a page that is not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The page.
    pub page: PathBuf,
    /// The line of the block.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.page.display(), self.line, self.what)
    }
}

/// Checks every block of a page, by its path and its text.
pub fn check_page(page: &Path, text: &str) -> Vec<Finding> {
    let blocks = blocks(text);
    let finding = |block: &Block, what: String| Finding {
        page: page.to_owned(),
        line: block.line,
        what,
    };
    let reader = Reader::at(text);
    let mut findings = Vec::new();
    for block in &blocks {
        if let Err(what) = reader.look_at(block) {
            findings.push(finding(block, what));
        }
    }
    if blocks.iter().any(|block| block.info == "sh") {
        let failed = reader.run(&blocks);
        findings.extend(failed.into_iter().map(|(block, what)| finding(block, what)));
    }
    findings
}

/// A reader with a fresh checkout, and the servers that the page needs.
struct Reader {
    folder: TempDir,
    /// What `127.0.0.1` is for this page.
    address: String,
    bucket: Option<Bucket>,
    postgres: Option<PostgresServer>,
}

impl Reader {
    fn at(page: &str) -> Self {
        let needs = needs(page);
        let is_needed = |name: &str| needs.iter().any(|need| need == name);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["checkout", "bin", "home", "run"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let bin = folder.path().join("bin");
        symlink(wsp_cli(), bin.join("wsp-cli")).expect("a link");
        let shims = repository().join("tests/docs/bin");
        for shim in ["cargo", "make", "aws"] {
            symlink(shims.join(shim), bin.join(shim)).expect("a link");
        }
        let mut copy = Command::new("cp");
        copy.arg("-R")
            .args(CHECKOUT)
            .arg(folder.path().join("checkout"));
        let copied = copy.current_dir(repository()).status().expect("cp runs");
        assert!(copied.success(), "the checkout was not copied");
        Self {
            folder,
            address: own_address().ip().to_string(),
            bucket: is_needed("s3").then(Bucket::start),
            postgres: is_needed("postgres")
                .then(|| PostgresServer::start(&PostgresOptions::default())),
        }
    }

    fn checkout(&self) -> PathBuf {
        self.folder.path().join("checkout")
    }

    /// A command in the checkout, in the reader's environment and no other.
    fn command(&self, program: &str) -> Command {
        let inside = |name: &str| self.folder.path().join(name);
        let mut path = inside("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", inside("home"))
            .env("XDG_RUNTIME_DIR", inside("run"))
            .env("TERM", "dumb")
            .env("LANG", "C.UTF-8")
            .env("IG_INGEST_URL", format!("http://{}:8081", self.address))
            .env("DOCS_SHIM_BUILT", wsp_cli().parent().expect("a folder"))
            .env("DOCS_SHIM_REPOSITORY", repository())
            .current_dir(self.checkout())
            .stdin(Stdio::null());
        if let Some(bucket) = &self.bucket {
            command
                .envs(Bucket::environment())
                .env("OBJECT_STORE_ENDPOINT", bucket.endpoint())
                .env("OBJECT_STORE_REGION", "us-east-1")
                .env("DOCS_SHIM_BUCKET", bucket.place());
        }
        if let Some(server) = &self.postgres {
            command.env("WSP_CHECKPOINT_DSN", server.dsn());
        }
        command
    }

    /// Checks a block by itself.
    fn look_at(&self, block: &Block) -> Result<(), String> {
        if block.is_not_run() {
            let why = block
                .comment
                .as_deref()
                .and_then(|said| said.strip_prefix("not run: "));
            let is_reasoned = why.is_some_and(|why| !why.is_empty());
            return is_reasoned.then_some(()).ok_or_else(|| {
                format!("{block} needs `<!-- not run: WHY -->` on the line before it")
            });
        }
        match block.info.as_str() {
            "sh" | "text" | "text,output" => Ok(()),
            "yaml" => self.takes_profile(block),
            "yaml,prometheus" => self.takes_prometheus(block),
            "json" => is_json(&block.text),
            "rust" | "toml" => is_in_its_file(block),
            _ => Err(format!("{block} is of no kind that a test looks at")),
        }
    }

    /// Whether `profile check` takes a profile, or a part of one.
    fn takes_profile(&self, block: &Block) -> Result<(), String> {
        let is_whole = block
            .text
            .lines()
            .any(|line| line.starts_with("profile_id:"));
        let head = if is_whole { "" } else { "profile_id: local\n" };
        let file = self.folder.path().join("profile.yaml");
        std::fs::write(&file, format!("{head}{}", block.text)).expect("a profile");
        let mut check = self.command("wsp-cli");
        check.args(["profile", "check", "--profile"]).arg(&file);
        ends_well(&mut check)
    }

    fn takes_prometheus(&self, block: &Block) -> Result<(), String> {
        let rules = self.checkout().join("deploy/prometheus/rules.yaml");
        let folder = self.folder.path().join("prometheus");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(rules, folder.join("rules.yaml")).expect("the rules");
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, &block.text).expect("a configuration");
        ends_well(
            self.command("promtool")
                .args(["check", "config"])
                .arg(&file),
        )
    }

    /// Runs the page's commands, and compares what they printed with what the page shows.
    fn run<'b>(&self, blocks: &'b [Block]) -> Vec<(&'b Block, String)> {
        let commands: Vec<&Block> = blocks.iter().filter(|block| block.info == "sh").collect();
        let (printed, status) = self.script(&commands);
        let mut sections = printed.split(MARK).skip(1);
        let printed: Vec<&str> = sections.by_ref().take(commands.len()).collect();
        let mut findings = Vec::new();
        if status != 0 {
            // The section behind the last mark of a block is where the script ended.
            let told = printed
                .iter()
                .filter(|section| section.starts_with("block\n"));
            let at = told.count().saturating_sub(1);
            let what = format!(
                "it ended with status {status}:\n{}",
                printed.get(at).unwrap_or(&"")
            );
            findings.push((commands[at.min(commands.len() - 1)], what));
            return findings;
        }
        let mut last = None;
        for block in blocks {
            match block.info.as_str() {
                "sh" => {
                    let is_this = |command: &&Block| command.line == block.line;
                    last = commands.iter().position(is_this);
                }
                "text,output" => {
                    let section = last.and_then(|at| printed.get(at));
                    let section = section.and_then(|section| section.strip_prefix("block\n"));
                    let shown = self.here(&block.text);
                    let Some(section) = section else {
                        findings.push((block, "no `sh` block stands before it".to_owned()));
                        continue;
                    };
                    if !matches(&shown, section) {
                        findings.push((block, format!("the program printed:\n{section}")));
                    }
                }
                _ => {}
            }
        }
        findings
    }

    /// A text of the page with the page's own address.
    fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1", &self.address)
    }

    /// Runs blocks in one shell at a terminal; what it printed, with a mark before each, and its
    /// exit status.
    fn script(&self, commands: &[&Block]) -> (String, i32) {
        let mut script = format!("printf '{MARK}%s' $$\nset -e\n");
        for block in commands {
            let text = self.here(&block.text);
            let _ = write!(script, "printf '{MARK}block\\n'\n{text}");
        }
        let _ = writeln!(script, "printf '{MARK}end\\n'");
        let file = self.folder.path().join("page.sh");
        std::fs::write(&file, script).expect("a script");
        let mut terminal = self.command("script");
        terminal.args(["-qefc", &format!("exec sh {}", file.display()), "/dev/null"]);
        let mut terminal = terminal
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` runs");
        let mut stdout = terminal.stdout.take().expect("a pipe");
        let reading = std::thread::spawn(move || {
            let mut printed = Vec::new();
            stdout.read_to_end(&mut printed).map(|_| printed)
        });
        let began = Instant::now();
        let status = loop {
            if let Some(status) = terminal.try_wait().expect("a child") {
                break status.code().unwrap_or(-1);
            }
            if began.elapsed() > PATIENCE {
                terminal.kill().expect("a child is killed");
                terminal.wait().expect("a child");
                break -1;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let printed = reading.join().expect("a reader").expect("what was printed");
        let printed = plain(&String::from_utf8_lossy(&printed));
        // The shell's process, then the blocks.
        let mut sections = printed.splitn(3, MARK).skip(1);
        end_session(sections.next().unwrap_or_default().trim());
        let rest = sections.next().unwrap_or_default();
        (format!("{MARK}{rest}"), status)
    }
}

/// Ends what a page left running: the process group that its shell led.
fn end_session(shell: &str) {
    let is_number = !shell.is_empty() && shell.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        // There is nobody left to end where the page has ended all itself.
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{shell}")])
            .stderr(Stdio::null())
            .status();
    }
}

fn ends_well(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned())
}

fn is_json(text: &str) -> Result<(), String> {
    let is_value = |text: &str| serde_json::from_str::<serde_json::Value>(text).map(|_| ());
    let all = is_value(text);
    let lines = || text.lines().try_for_each(is_value);
    all.or_else(|_| lines()).map_err(|error| error.to_string())
}

/// Whether the lines of a block stand together in the file that its comment names.
fn is_in_its_file(block: &Block) -> Result<(), String> {
    let named = block
        .comment
        .as_deref()
        .and_then(|said| said.strip_prefix("from "));
    let named = named.ok_or_else(|| format!("{block} needs `<!-- from PATH -->` before it"))?;
    let file = std::fs::read_to_string(repository().join(named))
        .map_err(|error| format!("{named}: {error}"))?;
    let bare = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    };
    let (block, file) = (bare(&block.text), bare(&file));
    let stands = file.windows(block.len().max(1)).any(|lines| lines == block);
    stands
        .then_some(())
        .ok_or_else(|| format!("these lines do not stand in {named}"))
}

//! Which commit a source tree is of: asked of git, or read from an archive that git made.
//!
//! | the tree is | the commit is |
//! |---|---|
//! | any, and `WSP_BUILD_COMMIT` is set | what the variable says: `HASH` or `HASH DATE` |
//! | an archive of `git archive` | what git wrote into `commit.txt` |
//! | the root of a git work tree | that of `HEAD` |
//! | something else, a tarball within another repository among them | unknown |

use std::path::{Path, PathBuf};
use std::process::Command;

/// A commit and the day it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The commit's hash, as git abbreviates it to 12 digits or as it was given.
    pub(crate) hash: String,
    /// The day of the commit, `YYYY-MM-DD`; `None` where only the hash is known.
    pub(crate) date: Option<String>,
}

/// Reads `HASH` or `HASH DATE`; `None` for anything else, such as the text that git replaces when
/// it makes an archive and left alone.
pub(crate) fn parse(text: &str) -> Option<Commit> {
    let mut words = text.split_whitespace();
    let hash = words.next()?;
    let is_hash = (7..=64).contains(&hash.len()) && hash.bytes().all(|b| b.is_ascii_hexdigit());
    // Of an RFC 3339 time the day is enough.
    let date = words.next().and_then(|date| date.get(..10));
    let is_day = |date: &str| {
        date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    is_hash.then(|| Commit {
        hash: hash[..hash.len().min(12)].to_ascii_lowercase(),
        date: date.filter(|date| is_day(date)).map(str::to_owned),
    })
}

/// The commit of the tree at `root`, whose archives have `archived`.
pub(crate) fn of_tree(root: &Path, archived: &Path) -> Option<Commit> {
    let written = std::fs::read_to_string(archived).unwrap_or_default();
    parse(&written).or_else(|| of_work_tree(root))
}

fn of_work_tree(root: &Path) -> Option<Commit> {
    // A tarball that was unpacked within another repository is not of that one's commit.
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    let is_root = Path::new(&top).canonicalize().ok()? == root.canonicalize().ok()?;
    let commit = is_root.then(|| git(root, &["log", "-1", "--format=%H %cI"]))?;
    parse(&commit?)
}

/// The files that change when another commit is checked out or made.
pub(crate) fn watched_files(root: &Path) -> Vec<PathBuf> {
    let names = ["HEAD", "logs/HEAD"];
    let paths = names.map(|name| git(root, &["rev-parse", "--git-path", name]));
    let paths = paths.into_iter().flatten().map(|path| root.join(path));
    paths.filter(|path| path.exists()).collect()
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(args).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

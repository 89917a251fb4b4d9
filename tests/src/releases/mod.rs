//! What releases left behind, and the sites where it is left and found.
//!
//! `tests/fixtures/releases/<version>/` holds the records of streams of that release, as its real
//! binary wrote them (`make release-fixtures`):
//!
//! ```text
//! release.json            version, commit, and what each site had done
//! world/  contracts/      the world that was streamed, views included; its catalogue and gate map
//! sites/<home>/           a runs root with cursors in a home, and what else a stream keeps there
//! sites/judged/           the runs root of a run that the gate quarantined as a whole
//! control.jsonl           a conversation on a control socket: requests, and the answers to each
//! plan.json  verify.json  what these commands printed
//! ```
//!
//! The world lies in a bucket, so that neither its name nor the pins of its parts depend on the
//! machine. What names the machine that made a fixture is struck out.

mod conversation;
mod scrub;
mod site;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use conversation::{Exchange, converse};
pub use scrub::Scrub;
pub use site::{Home, Site};

/// The platform run of every site.
pub const RUN: &str = "platform_20260128T090000Z";
/// Events between two saves of a site's stream.
pub const FLUSH_EVERY: u64 = 10;
/// Lanes of a site's stream.
pub const LANES: u64 = 4;

/// What is known of a release's fixtures.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The version of the release.
    pub version: String,
    /// The commit that it was built of.
    pub commit: String,
    /// The rows of the world.
    pub rows: u64,
    /// What each site had done, by its name.
    pub sites: Vec<SiteFacts>,
}

/// What a site had done when the release left it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFacts {
    /// The name of the site's folder.
    pub name: String,
    /// Whether its last stream was killed, so that events may come again.
    pub killed: bool,
    /// The ids of all events that the gate held, in order.
    pub at_the_gate: Vec<String>,
}

/// The fixtures of one release.
#[derive(Debug)]
pub struct Release {
    /// The folder of the fixtures.
    pub folder: PathBuf,
    /// What is known of them.
    pub facts: Facts,
}

impl Release {
    /// Where the fixtures of all releases are.
    pub fn folder_of_all() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/releases")
    }

    /// The fixtures of every release, by version.
    ///
    /// # Panics
    /// If there are none, or one cannot be read.
    pub fn all() -> Vec<Self> {
        let folders = fs::read_dir(Self::folder_of_all()).expect("the folder of releases");
        let mut releases: Vec<Self> = folders
            .map(|entry| Self::read(entry.expect("an entry of a folder").path()))
            .collect();
        releases.sort_by(|one, other| one.facts.version.cmp(&other.facts.version));
        assert!(!releases.is_empty(), "no release has fixtures");
        releases
    }

    fn read(folder: PathBuf) -> Self {
        let text = fs::read(folder.join("release.json")).expect("a release's facts");
        let facts = serde_json::from_slice(&text).expect("a release's facts are JSON");
        Self { folder, facts }
    }

    /// What a site had done.
    ///
    /// # Panics
    /// If the release has no such site.
    pub fn site(&self, name: &str) -> &SiteFacts {
        let mut sites = self.facts.sites.iter();
        let site = sites.find(|site| site.name == name);
        site.unwrap_or_else(|| panic!("{}: no site {name}", self.facts.version))
    }

    /// The recorded conversation on a control socket.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn conversation(&self) -> Vec<Exchange> {
        let text = fs::read_to_string(self.folder.join("control.jsonl")).expect("a conversation");
        let exchange = |line: &str| serde_json::from_str(line).expect("an exchange");
        text.lines().map(exchange).collect()
    }

    /// Reads a file of the fixtures.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read_file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// Copies the files of a folder, and of those in it. Locks come along: one that is there and that
/// nobody holds tells that its session has ended.
///
/// # Errors
/// The file system's.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&path, &target)?;
        } else if kind.is_file() {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

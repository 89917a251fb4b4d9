//! A runs root with cursors in one of their homes, beside a world in a bucket.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{GateOptions, OutputOptions, SampleOutput, ViewOptions, WorldOptions};
use serde_json::Value;

use super::{FLUSH_EVERY, LANES, RUN, Release, copy_tree};
use crate::checkpoints::wait_for;
use crate::postgres::{PostgresOptions, PostgresServer};
use crate::{BUCKET, Bucket, Ground, Ran, Rig};

/// The prefix of what a site keeps in the bucket.
const RECORDS: &str = "records";

/// Where a site keeps its cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// A folder.
    File,
    /// A SQLite file.
    Sqlite,
    /// A private PostgreSQL cluster.
    Postgres,
    /// A bucket, which holds the runs too.
    Object,
}

impl Home {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::File, Self::Sqlite, Self::Postgres, Self::Object];

    /// The home's name, as the profile's `wsp_checkpoint.backend` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Object => "object",
        }
    }
}

/// A rig whose cursors are in one home, and whose records can be kept and restored.
pub struct Site {
    /// The world and the gate. On disk stands the world that this build makes; in the bucket the one
    /// that is streamed.
    pub rig: Rig,
    home: Home,
    server: Option<PostgresServer>,
    /// The profile's keys of the site.
    keys: Vec<(String, String)>,
}

impl Site {
    /// A site where nothing has happened, with the world as this build makes it.
    pub fn new(home: Home, gate: GateOptions, more: &[(&str, &str)]) -> Self {
        let rig = Rig::on(Ground::S3, &world(), gate, &[]);
        let views = ViewOptions::under(rig.engine_run_root());
        rig.world.build_views(&views).expect("views are built");
        rig.mirror();
        let contracts = [rig.world.catalogue(), rig.world.gate_map()].map(Path::to_owned);
        Self::around(rig, home, contracts, more)
    }

    /// A site as a release left it.
    ///
    /// # Panics
    /// If the fixtures are not whole.
    pub fn restored(
        release: &Release,
        home: Home,
        gate: GateOptions,
        more: &[(&str, &str)],
    ) -> Self {
        Self::restored_from(release, home.name(), home, gate, more)
    }

    /// The same of a site by its name.
    ///
    /// # Panics
    /// If the fixtures are not whole.
    pub fn restored_from(
        release: &Release,
        name: &str,
        home: Home,
        gate: GateOptions,
        more: &[(&str, &str)],
    ) -> Self {
        let rig = Rig::on(Ground::S3, &world(), gate, &[]);
        rig.mirror_folder(&release.folder.join("world"));
        let contracts = ["engine_outputs.catalogue.yaml", "engine_gates.map.yaml"];
        let contracts = contracts.map(|name| release.folder.join("contracts").join(name));
        let site = Self::around(rig, home, contracts, more);
        let kept = release.folder.join("sites").join(name);
        if kept.join("runs").is_dir() {
            copy_tree(&kept.join("runs"), &site.rig.runs_root()).expect("the runs root");
        }
        if kept.join("bucket").is_dir() {
            site.bucket().mirror(&kept.join("bucket"), RECORDS);
        }
        if let Some(server) = &site.server {
            let dump = fs::read_to_string(kept.join("dump.sql")).expect("a dump");
            // Functions come before the tables that they name.
            let dump = format!("SET check_function_bodies = false;\n{dump}");
            wait_for(server.execute(&dump));
        }
        site
    }

    fn around(rig: Rig, home: Home, contracts: [PathBuf; 2], more: &[(&str, &str)]) -> Self {
        let server =
            (home == Home::Postgres).then(|| PostgresServer::start(&PostgresOptions::default()));
        let runs = rig.runs_root();
        let [catalogue, gate_map] = contracts.map(|path| path.display().to_string());
        let root = match home {
            Home::Object => format!("s3://{BUCKET}/{RECORDS}/cursors"),
            Home::Sqlite => runs.join("wsp/cursors.db").display().to_string(),
            Home::File | Home::Postgres => runs.join("wsp_checkpoints").display().to_string(),
        };
        let (flush_every, lanes) = (FLUSH_EVERY.to_string(), LANES.to_string());
        let mut keys = vec![
            ("wiring.engine_catalogue_path", catalogue),
            ("wiring.gate_map_path", gate_map),
            ("wiring.wsp_checkpoint.backend", home.name().to_owned()),
            ("wiring.wsp_checkpoint.root", root),
            ("wiring.wsp_checkpoint.flush_every", flush_every),
            ("wiring.wsp_push.lanes", lanes),
            ("wiring.wsp_push.on_reject", "quarantine".to_owned()),
            ("wiring.wsp_retry.base_delay_ms", "1".to_owned()),
            ("wiring.wsp_retry.max_delay_ms", "20".to_owned()),
        ];
        if let Some(server) = &server {
            keys.push(("wiring.wsp_checkpoint.dsn", server.dsn().to_owned()));
        }
        if home == Home::Object {
            let root = format!("s3://{BUCKET}/{RECORDS}/runs");
            keys.push(("wiring.wsp_audit.root", root));
        }
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let keys = keys.into_iter().chain(more);
        let mut site = Self {
            rig,
            home,
            server,
            keys: keys.map(|(key, value)| (key.to_owned(), value)).collect(),
        };
        site.set(&[]);
        site
    }

    /// Writes the profile anew with other keys on top of the site's.
    pub fn set(&mut self, more: &[(&str, &str)]) {
        let own = self.keys.iter();
        let own = own.map(|(key, value)| (key.as_str(), value.as_str()));
        let keys: Vec<_> = own.chain(more.iter().copied()).collect();
        self.rig.set(&keys);
    }

    /// The bucket of the world, and of the records of [`Home::Object`].
    ///
    /// # Panics
    /// Never: a site has one.
    pub fn bucket(&self) -> &Bucket {
        self.rig.bucket.as_ref().expect("a site has a bucket")
    }

    /// The server of [`Home::Postgres`].
    ///
    /// # Panics
    /// If the cursors are elsewhere.
    pub fn server(&self) -> &PostgresServer {
        self.server.as_ref().expect("the cursors are in Postgres")
    }

    /// The home of the cursors.
    pub fn home(&self) -> Home {
        self.home
    }

    /// A command with the site's profile, under no run in particular.
    pub fn command(&self, words: &[&str], more: &[&str]) -> Command {
        let mut command = self.rig.command(words, more);
        let folder = self.rig.folder.path();
        command
            .env("XDG_RUNTIME_DIR", folder.join("runtime"))
            .env("XDG_CACHE_HOME", folder.join("cache"));
        command
    }

    /// Runs such a command.
    pub fn run(&self, words: &[&str], more: &[&str]) -> Ran {
        Ran::of(&mut self.command(words, more))
    }

    /// Streams under [`RUN`].
    pub fn stream(&self, more: &[&str]) -> Ran {
        self.run(&["stream"], &[&["--platform-run-id", RUN], more].concat())
    }

    /// The folder of the records of [`RUN`].
    pub fn run_folder(&self) -> PathBuf {
        self.rig.runs_root().join(RUN)
    }

    /// The ids of the events that were set aside under [`RUN`], those of closed lines too.
    ///
    /// # Panics
    /// If a line is no record.
    pub fn set_aside(&self) -> Vec<String> {
        let mut texts = Vec::new();
        if self.home == Home::Object {
            let folder = format!("{RECORDS}/runs/{RUN}/wsp/quarantine");
            let keys = self.bucket().keys(&folder).into_iter();
            texts.extend(keys.map(|key| self.bucket().get(&key).to_vec()));
        } else {
            texts.extend(fs::read(self.run_folder().join("wsp/quarantine.ndjson")));
        }
        let lines = texts
            .iter()
            .flat_map(|text| text.split(|byte| *byte == b'\n'));
        let id = |line: &[u8]| {
            let record: Value = serde_json::from_slice(line).expect("a record of the quarantine");
            record["event_id"]
                .as_str()
                .expect("an event's id")
                .to_owned()
        };
        lines.filter(|line| !line.is_empty()).map(id).collect()
    }

    /// The ids of the events that the gate stored; it must record arrivals.
    pub fn ids_at_the_gate(&self) -> BTreeSet<String> {
        let arrivals = self.rig.gate.arrivals().into_iter();
        arrivals
            .map(|arrival| {
                let mut id = String::with_capacity(64);
                for byte in arrival.event_id {
                    // Writing to a text does not fail.
                    let _ = write!(id, "{byte:02x}");
                }
                id
            })
            .collect()
    }

    /// Keeps what the site holds of its streams in a folder.
    ///
    /// # Panics
    /// If it cannot be read or written.
    pub fn keep(&self, to: &Path) {
        fs::create_dir_all(to).expect("the folder of a site");
        if self.rig.runs_root().is_dir() {
            copy_tree(&self.rig.runs_root(), &to.join("runs")).expect("the runs root is copied");
        }
        for key in self.bucket().keys(RECORDS) {
            let name = key[RECORDS.len()..].trim_start_matches('/');
            let path = to.join("bucket").join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder of an object");
            fs::write(path, self.bucket().get(&key)).expect("an object is kept");
        }
        if let Some(server) = &self.server {
            fs::write(to.join("dump.sql"), server.dump()).expect("the dump is kept");
        }
    }
}

/// The world of fixtures: small, of two outputs, one of them in no time order.
fn world() -> WorldOptions {
    let shape = |output, rows_per_part| OutputOptions {
        rows_per_part,
        ..OutputOptions::of(output)
    };
    let unsorted = SampleOutput::ArrivalEvents;
    WorldOptions::sample()
        .with_outputs([
            shape(SampleOutput::EventStreamWithFraud, 60),
            shape(unsorted, 30),
        ])
        .with_unsorted([unsorted])
}

//! Crates of other people, outside the workspace: they read through a clearance, and what would
//! issue a grant of its own does not compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

/// A package of one file outside the workspace.
struct OutsideCrate(tempfile::TempDir);

impl OutsideCrate {
    /// A crate that depends on some of this workspace's by their paths. The name must be its own:
    /// by it the shared folder of what was compiled tells crates apart.
    fn depending_on(name: &str, crates: &[&str], main: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let crates_folder = workspace().join("crates");
        let depend = |name: &&str| {
            format!(
                "{name} = {{ path = \"{}\" }}\n",
                crates_folder.join(name).display()
            )
        };
        let manifest = format!(
            "[package]\nname = \"outside-{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\n{}\n[workspace]\n",
            crates.iter().map(depend).collect::<String>()
        );
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/main.rs"), main).unwrap();
        // The versions that this workspace has at hand.
        let lock = workspace().join("Cargo.lock");
        fs::copy(lock, folder.path().join("Cargo.lock")).unwrap();
        Self(folder)
    }

    /// Checks the crate; what the compiler says where it is refused.
    fn check(&self) -> Result<(), String> {
        let checked = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet"])
            .current_dir(self.0.path())
            // One folder for every outside crate and every run of this test.
            .env("CARGO_TARGET_DIR", workspace().join("target/outside"))
            .output()
            .unwrap();
        let said = String::from_utf8(checked.stderr).unwrap();
        checked.status.success().then_some(()).ok_or(said)
    }
}

const READS: &str = r#"
use gates::{ClearanceRequest, clear};
use oracle_store::{OutputLocator, ReadOptions, open_rows};

type Failure = Box<dyn std::error::Error>;

pub async fn count(request: &ClearanceRequest<'_>, output: &OutputLocator) -> Result<usize, Failure> {
    let clearance = clear(request).await?;
    let grant = clearance.grant(&output.output_id).ok_or("not asked for")?;
    let mut rows = 0;
    for part in &output.parts {
        for batch in open_rows(grant, part, &ReadOptions::default())? {
            rows += batch?.rows.len();
        }
    }
    Ok(rows)
}

fn main() {}
"#;

/// The services of `examples/services` have manifests of their own: each compiles by it.
#[test]
fn the_services_compile_outside_the_workspace() {
    for service in ["sr-attest", "ig-check", "backfill"] {
        let folder = tempfile::tempdir().unwrap();
        let source = workspace().join("examples/services").join(service);
        let manifest = fs::read_to_string(source.join("Cargo.toml")).unwrap();
        let crates = format!("{}/", workspace().join("crates").display());
        let manifest = manifest.replace("../../../crates/", &crates);
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        let main = folder.path().join("src/main.rs");
        fs::copy(source.join("src/main.rs"), main).unwrap();
        let lock = workspace().join("Cargo.lock");
        fs::copy(lock, folder.path().join("Cargo.lock")).unwrap();
        OutsideCrate(folder).check().unwrap();
    }
}

#[test]
fn a_crate_outside_reads_through_a_clearance() {
    let reads = OutsideCrate::depending_on("reads", &["gates", "oracle-store"], READS);
    reads.check().unwrap();
}

/// A way to a grant that gates did not give, the crates it depends on, and the error it meets.
struct Forgery {
    name: &'static str,
    crates: &'static [&'static str],
    main: &'static str,
    error: &'static str,
}

const FORGERIES: [Forgery; 5] = [
    Forgery {
        name: "alias",
        crates: &["oracle-store"],
        main: "use oracle_store::ReadGrant as Grant;\n\
               type Alias = Grant;\n\
               pub fn forge(world: &oracle_store::WorldStore, output: &oracle_store::OutputId) -> Alias {\n\
                   Alias::issue(Default::default(), world, output, Default::default())\n\
               }\nfn main() {}\n",
        error: "E0277",
    },
    Forgery {
        name: "key-by-name",
        crates: &["gates", "oracle-store"],
        main: "const KEY: grant::GrantKey = grant::GrantKey::claim();\nfn main() {}\n",
        error: "E0433",
    },
    Forgery {
        name: "key-by-path",
        crates: &["gates", "oracle-store"],
        main: "use oracle_store::grant::GrantKey;\nfn main() {}\n",
        error: "E0603",
    },
    Forgery {
        name: "fields",
        crates: &["oracle-store"],
        main: "pub fn forge(grant: oracle_store::ReadGrant, world: oracle_store::WorldStore) \
               -> oracle_store::ReadGrant {\n\
                   oracle_store::ReadGrant { store: world, ..grant }\n\
               }\nfn main() {}\n",
        error: "E0451",
    },
    // This one names the key's crate itself.
    Forgery {
        name: "key-by-dependency",
        crates: &["grant", "oracle-store"],
        main: "const KEY: grant::GrantKey = grant::GrantKey::claim();\n\
               pub fn forge(world: &oracle_store::WorldStore, output: &oracle_store::OutputId) \
               -> oracle_store::ReadGrant {\n\
                   oracle_store::ReadGrant::issue(KEY, world, output, Default::default())\n\
               }\nfn main() {}\n",
        error: "only the clearance of `gates` holds the key to grants",
    },
];

#[test]
fn a_crate_outside_that_issues_a_grant_of_its_own_does_not_compile() {
    for forgery in FORGERIES {
        let Forgery { name, main, .. } = forgery;
        let outside = OutsideCrate::depending_on(name, forgery.crates, main);
        let said = outside.check().expect_err(name);
        assert!(said.contains(forgery.error), "{name}: {said}");
        assert!(said.contains("src/main.rs"), "the fault is its own: {said}");
    }
}

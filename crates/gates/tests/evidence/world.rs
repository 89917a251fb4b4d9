//! A small world with one gate of every kind, its evidence made by the plainest
//! possible reading of the formats: an independent reference for the crate.
//!
//! ```text
//! out.free     requires nothing
//! out.bundle   ─► g.bundle                           sha256_bundle_digest, text flag
//! out.lex      ─► g.lex     ─► g.bundle              index, ascii_lex, item digests, JSON flag
//! out.listed   ─► g.listed  ─► g.bundle, g.lex       index_order, paths from the run root
//! out.members  ─► g.members ─► g.listed, g.bundle    digests of members; a folder is unbound
//! ```

use std::fs;
use std::path::Path;

use gates::{
    Clearance, ClearanceRequest, Error, GateMap, GateReceipt, VerificationMode, clear, verify_gates,
};
use oracle_store::{
    Catalogue, Hex64, ObjectStoreConfig, OutputId, Posture, RunReceipt, Tokens, WorldStore,
    resolve_engine_run_root,
};
use tempfile::TempDir;

pub(crate) const ROOT: &str = "data/validation";

pub(crate) const GATE_MAP: &str = "
version: '1'
gates:
- gate_id: g.bundle
  scope: fingerprint
  passed_flag_path_template: data/validation/g.bundle/seed={seed}/_passed.flag
  bundle_root_template: data/validation/g.bundle/seed={seed}/
  index_path_template: data/validation/g.bundle/seed={seed}/index.json
  verification_method:
    {kind: sha256_bundle_digest, digest_field: sha256_hex, ordering: ascii_lex, exclude_filenames: [_passed.flag]}
  upstream_gate_dependencies: []
  authorizes_outputs: [out.bundle]
- gate_id: g.lex
  passed_flag_path_template: data/validation/g.lex/seed={seed}/_passed.flag
  bundle_root_template: data/validation/g.lex/seed={seed}/
  index_path_template: data/validation/g.lex/seed={seed}/index.json
  verification_method:
    {kind: sha256_index_json_ascii_lex_raw_bytes, digest_field: bundle_digest, ordering: ascii_lex, exclude_filenames: [_passed.flag]}
  upstream_gate_dependencies: [g.bundle]
  authorizes_outputs: [out.lex]
- gate_id: g.listed
  passed_flag_path_template: data/validation/g.listed/seed={seed}/_passed.flag
  bundle_root_template: data/validation/g.listed/seed={seed}/
  index_path_template: data/validation/g.listed/seed={seed}/index.json
  verification_method:
    {kind: sha256_index_json_ascii_lex_raw_bytes, digest_field: sha256_hex, ordering: index_order, path_base: run_root, exclude_filenames: [_passed.flag, index.json]}
  upstream_gate_dependencies: [g.bundle, g.lex]
  authorizes_outputs: [out.listed]
- gate_id: g.members
  passed_flag_path_template: data/validation/g.members/seed={seed}/_passed.flag
  bundle_root_template: data/validation/g.members/seed={seed}/
  index_path_template: data/validation/g.members/seed={seed}/index.json
  verification_method:
    {kind: sha256_member_digest_concat, digest_field: sha256_hex, ordering: members_array_order, exclude_filenames: [_passed.flag]}
  upstream_gate_dependencies: [g.listed, g.bundle]
  authorizes_outputs: [out.members]
";

const CATALOGUE: &str = "
outputs:
- {output_id: out.free, class: stream, path_template: data/free/, primary_key: [id], read_requires_gates: []}
- {output_id: out.bundle, class: stream, path_template: data/b/, primary_key: [id], read_requires_gates: [g.bundle]}
- {output_id: out.lex, class: stream, path_template: data/l/, primary_key: [id], read_requires_gates: [g.lex]}
- {output_id: out.listed, class: stream, path_template: data/i/, primary_key: [id], read_requires_gates: [g.listed]}
- {output_id: out.members, class: stream, path_template: data/m/, primary_key: [id], read_requires_gates: [g.members]}
- {output_id: out.unknown, class: stream, path_template: data/u/, primary_key: [id], read_requires_gates: [g.none]}
";

/// A world in a folder of its own, and the two files that describe it.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) gate_map: String,
    pub(crate) catalogue: String,
}

/// The key of a file in a gate's bundle.
pub(crate) fn in_bundle(gate: &str, file: &str) -> String {
    format!("{ROOT}/{gate}/seed=7/{file}")
}

pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    Hex64::sha256_of(bytes).to_string()
}

impl World {
    /// The same as [`World::whole`] without the output whose gate the map does not know.
    pub(crate) fn agreeing() -> Self {
        let mut world = Self::whole();
        let known = |line: &&str| !line.contains("out.unknown");
        world.catalogue = world
            .catalogue
            .lines()
            .filter(known)
            .fold(String::new(), |text, line| text + line + "\n");
        world
    }

    /// The world of this module's picture, with evidence that holds.
    pub(crate) fn whole() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            gate_map: GATE_MAP.to_owned(),
            catalogue: CATALOGUE.to_owned(),
        };
        for gate in ["g.bundle", "g.lex", "g.listed", "g.members"] {
            world.write(
                &in_bundle(gate, "report.json"),
                format!("{{\"gate\":\"{gate}\"}}"),
            );
            world.write(
                &in_bundle(gate, "checks.jsonl"),
                format!("{{\"n\":1}}\n{{\"g\":\"{gate}\"}}\n"),
            );
            world.write(
                &in_bundle(gate, "Z/nested.txt"),
                format!("nested of {gate}"),
            );
        }
        let index = r#"{"items": [{"path": "checks.jsonl"}, {"path": "Z/nested.txt"}]}"#;
        world.write(&in_bundle("g.bundle", "index.json"), index);
        world.flag_bundle();

        let index = format!(
            r#"{{"version": 1, "entries": [{{"path": "report.json", "sha256": "{}"}}, {{"path": "Z/nested.txt"}}]}}"#,
            sha256(world.read(&in_bundle("g.lex", "report.json"))),
        );
        world.write(&in_bundle("g.lex", "index.json"), index);
        let digest = world.digest_of("g.lex", &["Z/nested.txt", "report.json"]);
        world.write(
            &in_bundle("g.lex", "_passed.flag"),
            format!(r#"{{"bundle_digest": "{digest}"}}"#),
        );

        let index = format!(
            r#"[{{"path": "{}"}}, {{"path": "{}"}}, {{"path": "{}"}}]"#,
            in_bundle("g.listed", "report.json"),
            in_bundle("g.listed", "Z/nested.txt"),
            in_bundle("g.listed", "index.json"),
        );
        world.write(&in_bundle("g.listed", "index.json"), index);
        let digest = world.digest_of("g.listed", &["report.json", "Z/nested.txt"]);
        world.flag("g.listed", &digest);

        let members = ["report.json", "checks.jsonl"]
            .map(|file| (file, sha256(world.read(&in_bundle("g.members", file)))));
        let index = format!(
            r#"{{"members": [{{"path": "{}", "sha256_hex": "{}"}}, {{"path": "{}", "sha256_hex": "{}"}}, {{"path": "rows/seed=7", "sha256_hex": "{}"}}]}}"#,
            members[0].0,
            members[0].1,
            members[1].0,
            members[1].1,
            sha256("rows"),
        );
        world.write(&in_bundle("g.members", "index.json"), index);
        let digest = sha256(format!(
            "{}{}{}",
            members[0].1,
            members[1].1,
            sha256("rows")
        ));
        world.flag("g.members", &digest);
        world
    }

    /// Writes the flag of `g.bundle` anew, for the bundle as it is.
    pub(crate) fn flag_bundle(&self) {
        let files = ["Z/nested.txt", "checks.jsonl", "index.json", "report.json"];
        let there = files
            .iter()
            .copied()
            .filter(|f| self.path(&in_bundle("g.bundle", f)).exists());
        self.flag(
            "g.bundle",
            &self.digest_of("g.bundle", &there.collect::<Vec<_>>()),
        );
    }

    pub(crate) fn flag(&self, gate: &str, digest: &str) {
        self.write(
            &in_bundle(gate, "_passed.flag"),
            format!("sha256_hex = {digest}\n"),
        );
    }

    pub(crate) fn digest_of(&self, gate: &str, files: &[&str]) -> String {
        sha256(
            files
                .iter()
                .map(|file| self.read(&in_bundle(gate, file)))
                .collect::<Vec<_>>()
                .concat(),
        )
    }

    pub(crate) fn path(&self, key: &str) -> std::path::PathBuf {
        self.dir.path().join(key)
    }

    pub(crate) fn write(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, key: &str) -> Vec<u8> {
        fs::read(self.path(key)).unwrap()
    }

    pub(crate) fn remove(&self, key: &str) {
        fs::remove_file(self.path(key)).unwrap();
    }

    pub(crate) fn store(&self) -> WorldStore {
        let root = self.dir.path().to_str().unwrap();
        let root = resolve_engine_run_root(root, None, Path::new("/")).unwrap();
        WorldStore::open(root, &ObjectStoreConfig::default()).unwrap()
    }

    /// Clears outputs in digest mode and local posture.
    pub(crate) async fn clear(&self, outputs: &[&str]) -> Result<Clearance, Error> {
        self.clear_as(outputs, VerificationMode::Digest, Posture::Local, true)
            .await
    }

    pub(crate) async fn clear_as(
        &self,
        outputs: &[&str],
        mode: VerificationMode,
        posture: Posture,
        require_gate_pass: bool,
    ) -> Result<Clearance, Error> {
        let parts = self.parts(outputs);
        clear(&ClearanceRequest {
            require_gate_pass,
            ..parts.request(mode, posture)
        })
        .await
    }

    pub(crate) async fn receipts(
        &self,
        outputs: &[&str],
        mode: VerificationMode,
    ) -> Vec<GateReceipt> {
        self.receipts_of(self.store(), outputs, mode).await
    }

    /// The receipts of this world as another store has it.
    pub(crate) async fn receipts_of(
        &self,
        store: WorldStore,
        outputs: &[&str],
        mode: VerificationMode,
    ) -> Vec<GateReceipt> {
        let parts = Parts {
            store,
            ..self.parts(outputs)
        };
        verify_gates(&parts.request(mode, Posture::Local))
            .await
            .unwrap()
    }

    fn parts(&self, outputs: &[&str]) -> Parts {
        Parts {
            store: self.store(),
            tokens: tokens(),
            catalogue: Catalogue::parse(self.catalogue.as_bytes()).unwrap(),
            gate_map: GateMap::parse("map", self.gate_map.as_bytes()).unwrap(),
            outputs: outputs.iter().map(|id| OutputId::new(*id)).collect(),
        }
    }
}

/// What a request borrows.
struct Parts {
    store: WorldStore,
    tokens: Tokens,
    catalogue: Catalogue,
    gate_map: GateMap,
    outputs: Vec<OutputId>,
}

impl Parts {
    fn request(&self, mode: VerificationMode, posture: Posture) -> ClearanceRequest<'_> {
        ClearanceRequest {
            store: &self.store,
            tokens: &self.tokens,
            catalogue: &self.catalogue,
            gate_map: &self.gate_map,
            outputs: &self.outputs,
            mode,
            posture,
            require_gate_pass: true,
        }
    }
}

pub(crate) fn tokens() -> Tokens {
    let receipt = serde_json::json!({
        "run_id": "0".repeat(32),
        "manifest_fingerprint": "a".repeat(64),
        "parameter_hash": "b".repeat(64),
        "seed": 7,
    });
    Tokens::of_run(&RunReceipt::parse(receipt.to_string().as_bytes()).unwrap())
}

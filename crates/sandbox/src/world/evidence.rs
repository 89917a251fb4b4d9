//! Validation evidence: the bundle, index and `_passed.flag` of every gate, and
//! instance-proof receipts.
//!
//! The bundles are built so that every rule of verification matters: members are
//! listed in another order than they sort, one lies in a folder, one item of an
//! index that permits it carries no digest, and the shape of the index differs from
//! method to method.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Identity;
use super::contract::{GateEntry, Method, MethodKind, Ordering, OutputEntry, PathBase, render};
use super::parts::make_folder_of;
use crate::Error;
use crate::mix::mix_pair;

/// The members of a bundle, in index order, which is not the order that they sort in.
const MEMBERS: [&str; 3] = ["report.json", "checks.jsonl", "a/nested.json"];
const FILLER: &str = "evidence.bin";
const FLAG: &str = "_passed.flag";

/// Where a world's evidence goes, and how much of it there is.
pub(crate) struct EvidenceWriter<'a> {
    pub(crate) root: &'a Path,
    pub(crate) identity: &'a Identity,
    pub(crate) utc_day: &'a str,
    pub(crate) filler_bytes: u64,
}

impl EvidenceWriter<'_> {
    /// Writes the bundle, index and flag of one gate.
    pub(crate) fn write_gate(&self, gate: &GateEntry) -> Result<(), Error> {
        let place = |template: &str| render(template, self.identity, self.utc_day);
        let bundle = place(&gate.bundle_root_template)?;
        let bundle = bundle.trim_end_matches('/');
        let (flag, index) = (
            place(&gate.passed_flag_path_template)?,
            place(&gate.index_path_template)?,
        );
        let method = &gate.verification_method;
        if method.kind == MethodKind::BundleDigest
            && flag.starts_with(&format!("{bundle}/"))
            && !method.exclude_filenames.iter().any(|name| name == FLAG)
        {
            return Err(Error::ContractInvalid {
                file: gate.gate_id.clone(),
                detail: "its bundle digest would cover the flag that states it; exclude the flag"
                    .to_owned(),
            });
        }
        let members = self.write_members(gate, bundle)?;
        let index_value = self.index(method, bundle, &members)?;
        self.write(&index, format!("{index_value}\n").as_bytes())?;

        let digest = self.bundle_digest(method, bundle, &index, &members)?;
        let field = &method.digest_field;
        let text = if field == "sha256_hex" {
            format!("{field} = {digest}\n")
        } else {
            format!("{}\n", json!({ field.as_str(): digest }))
        };
        self.write(&flag, text.as_bytes())
    }

    fn write_members(&self, gate: &GateEntry, bundle: &str) -> Result<Vec<String>, Error> {
        let mut members: Vec<String> = MEMBERS.iter().map(|&name| name.to_owned()).collect();
        for member in &members {
            let fact = json!({
                "gate_id": gate.gate_id,
                "file": member,
                "seed": self.identity.seed,
                "status": "PASS",
            });
            self.write(
                &format!("{bundle}/{member}"),
                format!("{fact}\n").as_bytes(),
            )?;
        }
        if self.filler_bytes > 0 {
            self.write_filler(&self.root.join(bundle).join(FILLER))?;
            members.push(FILLER.to_owned());
        }
        Ok(members)
    }

    fn write_filler(&self, path: &Path) -> Result<(), Error> {
        let file = File::create(path).map_err(Error::io("creating", path))?;
        let mut file = BufWriter::with_capacity(1 << 18, file);
        let (words, rest) = (self.filler_bytes / 8, (self.filler_bytes % 8) as usize);
        let mut write = || {
            for word in 0..words {
                file.write_all(&mix_pair(self.identity.seed, word).to_le_bytes())?;
            }
            file.write_all(&[0; 8][..rest])?;
            file.flush()
        };
        write().map_err(Error::io("writing", path))
    }

    /// The index: its items, the list's name and what an item says differ by method.
    fn index(&self, method: &Method, bundle: &str, members: &[String]) -> Result<Value, Error> {
        let mut items = Vec::with_capacity(members.len());
        for (place, member) in members.iter().enumerate() {
            let path = match method.path_base {
                PathBase::BundleRoot => member.clone(),
                PathBase::RunRoot => format!("{bundle}/{member}"),
            };
            let digest = hash_files([self.root.join(bundle).join(member)])?;
            items.push(match (method.path_base, place) {
                // Bound by the bundle digest alone.
                (PathBase::RunRoot, 0) => json!({ "path": path }),
                (PathBase::RunRoot, _) => json!({ "path": path, "sha256": digest }),
                (PathBase::BundleRoot, _) => json!({ "path": path, "sha256_hex": digest }),
            });
        }
        if method.kind == MethodKind::MemberDigests && method.digest_field != "sha256_hex" {
            for item in &mut items {
                item[&method.digest_field] = item["sha256_hex"].take();
            }
        }
        Ok(match (method.kind, method.path_base) {
            (MethodKind::BundleDigest, _) => json!({ "items": items }),
            (MethodKind::MemberDigests, _) => json!({ "members": items }),
            (MethodKind::IndexedBytes, PathBase::BundleRoot) => json!({ "files": items }),
            (MethodKind::IndexedBytes, PathBase::RunRoot) => Value::Array(items),
        })
    }

    fn bundle_digest(
        &self,
        method: &Method,
        bundle: &str,
        index: &str,
        members: &[String],
    ) -> Result<String, Error> {
        let root = self.root.join(bundle);
        let mut names: Vec<String> = members.to_vec();
        match method.kind {
            MethodKind::MemberDigests => {
                let mut digests = String::new();
                for name in &names {
                    digests += &hash_files([root.join(name)])?;
                }
                return Ok(hash_text(digests));
            }
            MethodKind::BundleDigest => {
                if let Some(name) = index.strip_prefix(&format!("{bundle}/")) {
                    names.push(name.to_owned());
                }
                names.sort();
            }
            MethodKind::IndexedBytes if method.ordering == Ordering::AsciiLex => names.sort(),
            MethodKind::IndexedBytes => {}
        }
        names.retain(|name| {
            let file_name = name.rsplit('/').next().unwrap_or(name);
            !method
                .exclude_filenames
                .iter()
                .any(|excluded| excluded == file_name)
        });
        hash_files(names.iter().map(|name| root.join(name)))
    }

    /// Writes the instance-proof receipt of one output, found by the layer and segment
    /// in its path; outputs elsewhere get none.
    pub(crate) fn write_instance_proof(
        &self,
        output: &OutputEntry,
        rendered: &str,
        files: &[PathBuf],
    ) -> Result<(), Error> {
        let mut levels = rendered.split('/');
        let (Some("data"), Some(layer), Some(segment)) =
            (levels.next(), levels.next(), levels.next())
        else {
            return Ok(());
        };
        let id = &output.output_id;
        let mut template = format!("data/{layer}/{segment}/receipts/instance/output_id={id}/");
        for token in &output.partitions {
            template += &[token, "={", token, "}/"].concat();
        }
        let path = render(&template, self.identity, self.utc_day)? + "instance_receipt.json";
        let receipt = json!({
            "output_id": id,
            "status": "PASS",
            "target_digest": { "algo": "sha256", "hex": hash_files(files)? },
        });
        self.write(&path, format!("{receipt}\n").as_bytes())
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.root.join(path);
        make_folder_of(&path)?;
        std::fs::write(&path, bytes).map_err(Error::io("writing", &path))
    }
}

/// SHA-256 over the bytes of files, one after the other.
pub(crate) fn hash_files<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
) -> Result<String, Error> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 17]);
    for path in paths {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(Error::io("opening", path))?;
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("reading", path))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
    }
    Ok(hex(&hasher.finalize()))
}

pub(crate) fn hash_text(text: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

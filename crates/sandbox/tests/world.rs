//! What a built world promises, checked by code that shares nothing with the builder.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sandbox::{
    Compression, Contracts, Disorder, OutputOptions, Pack, ProfileOptions, SampleOutput,
    TimeColumn, TimeText, TimeZoneForm, World, WorldOptions,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn build(options: &WorldOptions) -> (tempfile::TempDir, World) {
    let folder = tempfile::tempdir().unwrap();
    let world = options.build(folder.path()).unwrap();
    (folder, world)
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The digest that a flag states, in either of its forms.
fn stated(flag: &Path, field: &str) -> String {
    let text = fs::read_to_string(flag).unwrap();
    match text.split_once(" = ") {
        Some((name, digest)) => {
            assert_eq!(name, field);
            digest.trim().to_owned()
        }
        None => serde_json::from_str::<Value>(&text).unwrap()[field]
            .as_str()
            .unwrap()
            .to_owned(),
    }
}

/// The digest of a gate's bundle by the rules of its method.
fn computed(root: &Path, bundle: &Path, index: &Path, method: &serde_yaml::Value) -> String {
    let text = |field: &str| method[field].as_str().unwrap_or_default();
    let excluded: Vec<&str> = method["exclude_filenames"]
        .as_sequence()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let kept = |path: &Path| !excluded.contains(&path.file_name().unwrap().to_str().unwrap());
    let index = json(index);
    let items = match &index {
        Value::Array(items) => items.clone(),
        Value::Object(list) => list.values().next().unwrap().as_array().unwrap().clone(),
        _ => panic!("an index is an object or an array"),
    };
    match text("kind") {
        "sha256_member_digest_concat" => {
            let digest = |item: &Value| item[text("digest_field")].as_str().unwrap().to_owned();
            hex(items.iter().map(digest).collect::<String>())
        }
        "sha256_bundle_digest" => {
            let by_name: BTreeMap<String, PathBuf> = files_under(bundle)
                .into_iter()
                .filter(|path| kept(path))
                .map(|path| {
                    (
                        path.strip_prefix(bundle).unwrap().to_str().unwrap().into(),
                        path,
                    )
                })
                .collect();
            hex(by_name
                .values()
                .flat_map(|path| fs::read(path).unwrap())
                .collect::<Vec<u8>>())
        }
        "sha256_index_json_ascii_lex_raw_bytes" => {
            let base = if text("path_base") == "run_root" {
                root
            } else {
                bundle
            };
            let mut paths: Vec<&str> = items
                .iter()
                .map(|item| item["path"].as_str().unwrap())
                .collect();
            let as_listed = paths.clone();
            paths.sort_unstable();
            assert_ne!(paths, as_listed, "an index in sorted order proves nothing");
            if text("ordering") == "index_order" {
                paths = as_listed;
            }
            let read = |path: &&str| fs::read(base.join(path)).unwrap();
            hex(paths
                .iter()
                .filter(|p| kept(Path::new(p)))
                .flat_map(read)
                .collect::<Vec<u8>>())
        }
        other => panic!("no such method: {other}"),
    }
}

#[test]
fn every_gate_of_the_sample_map_verifies() {
    let (_folder, world) = build(&WorldOptions {
        bundle_filler_bytes: 999,
        ..WorldOptions::sample()
    });
    let root = world.engine_run_root();
    let map: serde_yaml::Value =
        serde_yaml::from_slice(&fs::read(world.gate_map()).unwrap()).unwrap();
    let fingerprint = &world.identity().manifest_fingerprint;
    let mut seen = HashSet::new();
    for gate in map["gates"].as_sequence().unwrap() {
        let place = |field: &str| {
            root.join(
                gate[field]
                    .as_str()
                    .unwrap()
                    .replace("{manifest_fingerprint}", fingerprint),
            )
        };
        let method = &gate["verification_method"];
        let bundle = place("bundle_root_template");
        let digest = computed(root, &bundle, &place("index_path_template"), method);
        let flag = place("passed_flag_path_template");
        assert_eq!(
            stated(&flag, method["digest_field"].as_str().unwrap()),
            digest,
            "{gate:?}"
        );
        assert_eq!(
            fs::metadata(bundle.join("evidence.bin")).unwrap().len(),
            999
        );
        for trait_of_it in ["kind", "ordering", "path_base", "digest_field"] {
            seen.insert(method[trait_of_it].as_str().unwrap_or("absent").to_owned());
        }
    }
    for wanted in [
        "sha256_bundle_digest",
        "sha256_index_json_ascii_lex_raw_bytes",
        "sha256_member_digest_concat",
        "ascii_lex",
        "index_order",
        "members_array_order",
        "run_root",
        "absent",
        "sha256_hex",
        "bundle_digest_sha256",
    ] {
        assert!(seen.contains(wanted), "the sample map has no {wanted}");
    }
}

#[test]
fn the_index_states_the_digest_of_each_member() {
    let (_folder, world) = build(&WorldOptions::sample());
    let root = world.engine_run_root();
    let (mut bound, mut unbound) = (0, 0);
    for index in files_under(root) {
        if !index
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .contains("index")
        {
            continue;
        }
        let value = json(&index);
        let items = value
            .as_array()
            .or_else(|| value.as_object()?.values().next()?.as_array());
        for item in items.unwrap() {
            let path = item["path"].as_str().unwrap();
            let base = if path.starts_with("data/") {
                root
            } else {
                index.parent().unwrap()
            };
            let digest = item.get("sha256_hex").or_else(|| item.get("sha256"));
            match digest {
                Some(digest) => {
                    assert_eq!(*digest, hex(fs::read(base.join(path)).unwrap()), "{path}");
                    bound += 1;
                }
                None => unbound += 1,
            }
        }
    }
    assert_eq!((bound, unbound), (11, 1));
}

#[test]
fn a_sealed_pack_states_its_own_id_digests_and_contents() {
    let (_folder, world) = build(&WorldOptions::sample());
    let root = world.engine_run_root();
    let manifest = json(&root.join("_oracle_pack_manifest.json"));
    let key = &manifest["world_key"];
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let facts = [
        &key["manifest_fingerprint"],
        &key["parameter_hash"],
        &key["scenario_id"],
        &key["seed"],
        &manifest["engine_release"],
        &manifest["catalogue_digest"],
        &manifest["gate_map_digest"],
    ]
    .map(text);
    assert_eq!(manifest["oracle_pack_id"], hex(facts.join("|")));
    assert_eq!(
        manifest["catalogue_digest"],
        hex(fs::read(world.catalogue()).unwrap())
    );
    assert_eq!(
        manifest["gate_map_digest"],
        hex(fs::read(world.gate_map()).unwrap())
    );
    assert_eq!(manifest.as_object().unwrap().len(), 7);

    let receipt = json(&root.join("run_receipt.json"));
    for field in ["manifest_fingerprint", "parameter_hash", "seed"] {
        assert_eq!(receipt[field], key[field]);
    }
    assert_eq!(receipt["run_id"], world.identity().run_id);

    let seal = json(&root.join("_SEALED.json"));
    assert_eq!(seal["oracle_pack_id"], manifest["oracle_pack_id"]);
    assert_eq!(seal["seal_status"], "SEALED_OK");
    assert_eq!(seal.as_object().unwrap().len(), 4);

    let contents = json(&root.join("_oracle_pack_contents.json"));
    assert_eq!(contents["oracle_pack_id"], manifest["oracle_pack_id"]);
    let listed: BTreeMap<String, (u64, String)> = contents["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let bytes = object["bytes"].as_u64().unwrap();
            (text(&object["path"]), (bytes, text(&object["sha256"])))
        })
        .collect();
    let found: BTreeMap<String, (u64, String)> = files_under(root)
        .into_iter()
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, (bytes.len() as u64, hex(bytes)))
        })
        .filter(|(name, _)| name.contains('/') || name == "run_receipt.json")
        .collect();
    assert_eq!(listed, found);
}

#[test]
fn a_world_is_packed_as_far_as_it_was_asked() {
    for (pack, manifest, seal, flag) in [
        (Pack::None, false, false, false),
        (Pack::Unsealed, true, false, false),
        (Pack::SealedByFlag, true, false, true),
        (Pack::Sealed, true, true, false),
    ] {
        let (_folder, world) = build(&WorldOptions {
            pack,
            ..WorldOptions::sample()
        });
        let has = |name: &str| world.engine_run_root().join(name).exists();
        assert_eq!(has("_oracle_pack_manifest.json"), manifest, "{pack:?}");
        assert_eq!(has("_SEALED.json"), seal, "{pack:?}");
        assert_eq!(has("_SEALED.flag"), flag, "{pack:?}");
        assert_eq!(
            world.identity().oracle_pack_id.is_some(),
            manifest,
            "{pack:?}"
        );
    }
}

fn all_bytes(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_under(root).into_iter();
    files
        .map(|p| {
            (
                p.strip_prefix(root).unwrap().to_owned(),
                fs::read(&p).unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_world_does_not_depend_on_the_number_of_threads() {
    let mut options = WorldOptions::sample().with_outputs(SampleOutput::ALL.map(OutputOptions::of));
    options.threads = 1;
    let (_one, single) = build(&options);
    options.threads = 7;
    let (_two, many) = build(&options);
    assert_eq!(
        all_bytes(single.engine_run_root()),
        all_bytes(many.engine_run_root())
    );
    options.seed += 1;
    let (_three, other) = build(&options);
    assert_ne!(single.identity(), other.identity());
}

/// Every row of a Parquet output: its key, and its time as text.
fn rows(world: &World, output_id: &str, key: &[&str]) -> Vec<(Vec<i64>, String)> {
    let mut rows = Vec::new();
    for part in world.parts(output_id) {
        let file = fs::File::open(part).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap()
        {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap();
            for row in 0..batch.num_rows() {
                let key = key
                    .iter()
                    .map(|k| column(k).as_primitive::<Int64Type>().value(row));
                let time = column("ts_utc").as_string::<i32>().value(row).to_owned();
                rows.push((key.collect(), time));
            }
        }
    }
    rows
}

#[test]
fn every_row_has_a_key_of_its_own_and_a_time_within_the_span() {
    let output = SampleOutput::EventStreamWithFraud;
    let shape = OutputOptions {
        parts: 5,
        rows_per_part: 777,
        overlap: 3,
        disorder: Some(Disorder {
            every_nth_part: 2,
            window_rows: 50,
        }),
        ..OutputOptions::of(output)
    };
    let (_folder, world) = build(&WorldOptions::sample().with_outputs([shape]));
    let rows = rows(&world, output.id(), &["flow_id", "event_seq"]);
    assert_eq!(rows.len(), 5 * 777);
    let keys: HashSet<&Vec<i64>> = rows.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), rows.len());
    let flows: HashSet<i64> = rows.iter().map(|(key, _)| key[0]).collect();
    assert!(
        flows.len() < rows.len() / 3,
        "an ordering key has several events"
    );
    assert!(
        flows.iter().any(|flow| *flow > 1 << 53),
        "ids go beyond what a double holds"
    );
    for (_, time) in rows {
        assert!(
            ("2026-01-28T08:00:00".."2026-01-28T09:00:00").contains(&time.as_str()),
            "{time}"
        );
    }
}

#[test]
fn parts_are_shaped_as_asked() {
    let output = SampleOutput::EventStreamBaseline;
    let shape = OutputOptions {
        parts: 3,
        rows_per_part: 1_000,
        row_group_rows: 300,
        compression: Compression::Alternating,
        time: TimeColumn::MixedText(vec![
            TimeText {
                digits: 9,
                space: true,
                zone: TimeZoneForm::Absent,
            },
            TimeText {
                digits: 0,
                space: false,
                zone: TimeZoneForm::OffsetMinutes(60),
            },
        ]),
        ..OutputOptions::of(output)
    };
    let (_folder, world) = build(&WorldOptions::sample().with_outputs([shape]));
    assert_eq!(world.parts(output.id()).len(), 3);
    for (place, part) in world.parts(output.id()).iter().enumerate() {
        assert!(part.ends_with(format!("part-{place:06}.parquet")));
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(fs::File::open(part).unwrap()).unwrap();
        let groups: Vec<i64> = reader
            .metadata()
            .row_groups()
            .iter()
            .map(parquet::file::metadata::RowGroupMetaData::num_rows)
            .collect();
        assert_eq!(groups, [300, 300, 300, 100]);
    }
    let lengths: HashSet<usize> = rows(&world, output.id(), &[])
        .iter()
        .map(|(_, time)| time.len())
        .collect();
    assert_eq!(lengths, HashSet::from([29, 25]));
}

#[test]
fn json_lines_carry_every_column_of_every_row() {
    let output = SampleOutput::EventLabels;
    let (_folder, world) = build(&WorldOptions::sample().with_outputs([OutputOptions::of(output)]));
    let mut nulls = 0;
    for part in world.parts(output.id()) {
        assert!(
            part.extension()
                .is_some_and(|extension| extension == "jsonl")
        );
        let text = fs::read_to_string(part).unwrap();
        assert_eq!(text.lines().count(), 500);
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(row.as_object().unwrap().len(), 9);
            assert_eq!(row["seed"], 20_260_128);
            nulls += usize::from(row["campaign_id"].is_null());
        }
    }
    assert!(nulls > 0);
}

#[test]
fn a_callers_own_contracts_can_be_built_against() {
    let folder = tempfile::tempdir().unwrap();
    let (catalogue, gate_map) = (folder.path().join("c.yaml"), folder.path().join("g.yaml"));
    let entry = "outputs:\n- output_id: own\n  path_template: 'own/day={utc_day}/part-*.parquet'\n  \
                 primary_key: [seed, card_id, swipe]\n  partitions: []\n";
    fs::write(&catalogue, entry).unwrap();
    fs::write(&gate_map, "gates: []\n").unwrap();
    let contracts = Contracts::Files {
        catalogue: catalogue.clone(),
        gate_map,
    };
    let options = WorldOptions {
        contracts,
        ..WorldOptions::sample()
    };
    let world = options
        .with_outputs([OutputOptions::new("own")])
        .build(folder.path())
        .unwrap();
    assert_eq!(world.catalogue(), catalogue);
    assert!(
        world.parts("own")[0]
            .to_str()
            .unwrap()
            .contains("own/day=2026-01-28/part-000000")
    );
    let keys: HashSet<Vec<i64>> = rows(&world, "own", &["card_id", "swipe"])
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys.len(), 1_000);
    assert_eq!(world.ordering_columns()["own"], "card_id");
}

#[test]
fn an_output_that_is_neither_parquet_nor_json_lines_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (catalogue, gate_map) = (folder.path().join("c.yaml"), folder.path().join("g.yaml"));
    let entry = "outputs:\n- {output_id: own, path_template: own/flag.json, primary_key: [id]}\n";
    fs::write(&catalogue, entry).unwrap();
    fs::write(&gate_map, "gates: []\n").unwrap();
    let contracts = Contracts::Files {
        catalogue,
        gate_map,
    };
    let options = WorldOptions {
        contracts,
        ..WorldOptions::sample()
    };
    let output = OutputOptions {
        parts: 1,
        ..OutputOptions::new("own")
    };
    let error = options
        .with_outputs([output])
        .build(folder.path())
        .unwrap_err();
    assert_eq!(error.code().as_str(), "SANDBOX_OPTIONS_INVALID");
}

#[test]
fn an_instance_proof_states_the_digest_of_the_parts() {
    let output = SampleOutput::ArrivalEvents;
    let options = WorldOptions {
        instance_proofs: true,
        ..WorldOptions::sample()
    };
    let (_folder, world) = build(&options.with_outputs([OutputOptions::of(output)]));
    let id = world.identity();
    let receipt = world.engine_run_root().join(format!(
        "data/layer2/5B/receipts/instance/output_id=arrival_events_5B/seed={}/\
         manifest_fingerprint={}/scenario_id={}/instance_receipt.json",
        id.seed, id.manifest_fingerprint, id.scenario_id
    ));
    let bytes: Vec<u8> = world
        .parts(output.id())
        .iter()
        .flat_map(|part| fs::read(part).unwrap())
        .collect();
    assert_eq!(json(&receipt)["status"], "PASS");
    assert_eq!(json(&receipt)["target_digest"]["hex"], hex(bytes));
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let refused = |edit: &dyn Fn(&mut WorldOptions)| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = WorldOptions::sample();
        edit(&mut options);
        options.build(folder.path()).unwrap_err().code().as_str()
    };
    for edit in [
        &(|o: &mut WorldOptions| o.outputs[0].overlap = 3) as &dyn Fn(&mut WorldOptions),
        &|o| o.outputs[0].parts = 0,
        &|o| o.outputs[1] = o.outputs[0].clone(),
        &|o| o.scenario_id.clear(),
        &|o| o.seed = u64::MAX,
        &|o| o.outputs[0].output_id = "nobody".to_owned(),
        &|o| {
            o.outputs[0] = OutputOptions {
                parts: 2,
                ..OutputOptions::of(SampleOutput::MerchantProfile)
            };
        },
    ] {
        assert_eq!(refused(edit), "SANDBOX_OPTIONS_INVALID");
    }
}

#[test]
fn a_folder_that_holds_the_world_already_is_left_alone() {
    let (folder, world) = build(&WorldOptions::sample());
    let before = all_bytes(world.engine_run_root());
    let error = WorldOptions::sample().build(folder.path()).unwrap_err();
    assert_eq!(error.code().as_str(), "SANDBOX_OPTIONS_INVALID");
    assert_eq!(all_bytes(world.engine_run_root()), before);
}

#[test]
fn a_profile_points_at_its_world_and_takes_overrides() {
    let (_folder, world) = build(
        &WorldOptions::sample().with_outputs(
            [
                SampleOutput::EventStreamBaseline,
                SampleOutput::ValidationIssues,
            ]
            .map(OutputOptions::of),
        ),
    );
    let path = ProfileOptions::local(&world, "http://127.0.0.1:8081")
        .set("policy.posture", "strict")
        .set("wiring.wsp_push.lanes", "4")
        .set("wiring.wsp_retry", "null")
        .write()
        .unwrap();
    let profile: serde_yaml::Value = serde_yaml::from_slice(&fs::read(path).unwrap()).unwrap();
    let wiring = &profile["wiring"];
    assert_eq!(profile["policy"]["posture"], "strict");
    assert_eq!(wiring["wsp_push"]["lanes"], 4);
    assert!(wiring.get("wsp_retry").is_none());
    assert_eq!(
        wiring["oracle_engine_run_root"].as_str(),
        world.engine_run_root().to_str()
    );
    assert_eq!(
        profile["policy"]["traffic_output_ids"]
            .as_sequence()
            .unwrap()
            .len(),
        1,
        "an output without a primary key is not streamed"
    );
    let allowlist = wiring["wsp_producer"]["allowlist_ref"].as_str().unwrap();
    assert!(
        fs::read_to_string(allowlist)
            .unwrap()
            .contains("svc:world_stream_producer")
    );
}

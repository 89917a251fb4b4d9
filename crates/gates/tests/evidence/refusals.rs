//! Evidence that does not hold: each fault gets its own code and names its object.

use gates::{Error, ReasonCode, VerificationMode::Digest, VerificationMode::Presence};
use oracle_store::Posture;

use crate::world::{World, in_bundle, sha256};

/// Asserts the code, and that the text names `object`.
#[track_caller]
fn assert_refused(error: &Error, code: &str, object: &str) {
    assert_eq!(error.code().as_str(), code, "{error}");
    assert!(
        error.to_string().contains(object),
        "`{error}` does not name {object}"
    );
    assert!(!error.is_retryable());
}

async fn refusal(world: &World, output: &str) -> Error {
    world
        .clear(&[output])
        .await
        .expect_err("the evidence does not hold")
}

#[tokio::test]
async fn a_missing_flag_is_no_pass_in_either_mode() {
    let world = World::whole();
    let flag = in_bundle("g.lex", "_passed.flag");
    world.remove(&flag);
    assert_refused(
        &refusal(&world, "out.lex").await,
        "GATE_PASS_MISSING",
        &flag,
    );
    let error = world
        .clear_as(&["out.lex"], Presence, Posture::Local, true)
        .await
        .unwrap_err();
    assert_refused(&error, "GATE_PASS_MISSING", &flag);
    assert_eq!(error.gate_id().unwrap().as_str(), "g.lex");
}

#[tokio::test]
async fn a_folder_in_place_of_the_flag_is_no_pass() {
    let world = World::whole();
    let flag = in_bundle("g.lex", "_passed.flag");
    world.remove(&flag);
    std::fs::create_dir(world.path(&flag)).unwrap();
    let error = world
        .clear_as(&["out.lex"], Presence, Posture::Local, true)
        .await
        .unwrap_err();
    assert_refused(&error, "GATE_PASS_MISSING", &flag);
}

#[tokio::test]
async fn a_failing_dependency_refuses_the_gate_above_it() {
    let world = World::whole();
    world.remove(&in_bundle("g.bundle", "_passed.flag"));
    let error = refusal(&world, "out.members").await;
    assert_refused(&error, "GATE_PASS_MISSING", "g.bundle");
}

#[tokio::test]
async fn a_flag_in_any_form_but_the_two_is_refused() {
    let world = World::whole();
    let flag = in_bundle("g.bundle", "_passed.flag");
    let digest = String::from_utf8(world.read(&flag)).unwrap();
    let digest = digest.trim().strip_prefix("sha256_hex = ").unwrap();
    for wrong in [
        String::new(),
        digest.to_owned(),
        format!("digest = {digest}\n"),
        format!("sha256_hex={digest}\n"),
        format!(" sha256_hex = {digest}\n"),
        format!("sha256_hex = {}\n", digest.to_uppercase()),
        format!("sha256_hex = {}\n", &digest[1..]),
        format!("sha256_hex = {digest} \n"),
        format!("sha256_hex = {digest}\r"),
        format!("sha256_hex = {digest}\r\n"),
        format!("sha256_hex = {digest}\n\n"),
        format!("sha256_hex = {digest}\nsha256_hex = {digest}\n"),
        format!("\u{feff}sha256_hex = {digest}\n"),
        format!(r#"{{"digest": "{digest}"}}"#),
        format!(r#"{{"sha256_hex": "{}"}}"#, digest.to_uppercase()),
        format!(r#"{{"sha256_hex": "{digest}", "sha256_hex": "{digest}"}}"#),
        format!(r#"{{"sha256_hex": ["{digest}"]}}"#),
        format!(r#"{{"sha256_hex": "{digest}""#),
        format!(r#"{{"sha256_hex": "{digest}"}} x"#),
    ] {
        world.write(&flag, &wrong);
        let error = refusal(&world, "out.bundle").await;
        assert_refused(&error, "GATE_FLAG_INVALID", &flag);
    }
    for right in [
        format!("sha256_hex = {digest}"),
        format!("sha256_hex = {digest}\n"),
        format!("{{\"sha256_hex\": \"{digest}\", \"at\": 1}}\r\n"),
    ] {
        world.write(&flag, &right);
        world.clear(&["out.bundle"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_digest_of_other_bytes_is_refused_with_both_digests() {
    let world = World::whole();
    world.flag("g.bundle", &sha256("other"));
    let error = refusal(&world, "out.bundle").await;
    assert_refused(
        &error,
        "GATE_DIGEST_MISMATCH",
        &in_bundle("g.bundle", "_passed.flag"),
    );
    let digests = error.digest_pair().unwrap();
    assert_eq!(digests.expected.as_str(), sha256("other"));
    let text = error.to_string();
    assert!(text.contains(digests.expected.as_str()) && text.contains(digests.actual.as_str()));
}

#[tokio::test]
async fn a_file_that_belies_its_item_is_named_itself() {
    let world = World::whole();
    let key = in_bundle("g.members", "checks.jsonl");
    world.write(&key, "changed");
    assert_refused(
        &refusal(&world, "out.members").await,
        "GATE_DIGEST_MISMATCH",
        &key,
    );
}

#[tokio::test]
async fn a_file_that_was_added_to_a_digested_bundle_is_refused() {
    let world = World::whole();
    world.write(&in_bundle("g.bundle", "Z/more.txt"), "");
    world
        .clear(&["out.bundle"])
        .await
        .expect("an empty file adds no byte to the digest");
    world.write(&in_bundle("g.bundle", "Z/more.txt"), "x");
    let error = refusal(&world, "out.bundle").await;
    assert_refused(&error, "GATE_DIGEST_MISMATCH", "g.bundle");
}

#[tokio::test]
async fn a_missing_index_is_refused_where_a_digest_needs_it_or_would_not_notice() {
    for (gate, output) in [
        ("g.lex", "out.lex"),
        ("g.listed", "out.listed"),
        ("g.members", "out.members"),
    ] {
        let world = World::whole();
        world.remove(&in_bundle(gate, "index.json"));
        let error = refusal(&world, output).await;
        assert_refused(&error, "GATE_INDEX_MISSING", &in_bundle(gate, "index.json"));
    }
    let mut world = World::whole();
    world.remove(&in_bundle("g.bundle", "index.json"));
    assert_refused(
        &refusal(&world, "out.bundle").await,
        "GATE_DIGEST_MISMATCH",
        "g.bundle",
    );
    world.flag_bundle();
    world
        .clear(&["out.bundle"])
        .await
        .expect("the digest covers that there is no index");
    world.gate_map = world
        .gate_map
        .replacen("[_passed.flag]", "[_passed.flag, index.json]", 1);
    assert_refused(
        &refusal(&world, "out.bundle").await,
        "GATE_INDEX_MISSING",
        "g.bundle",
    );
}

#[tokio::test]
async fn an_index_that_is_not_understood_is_refused() {
    let world = World::whole();
    let index = in_bundle("g.lex", "index.json");
    let upper = sha256("x").to_uppercase();
    for wrong in [
        "",
        "{",
        "null",
        r#"{"list": []}"#,
        r#"{"items": {}}"#,
        r#"{"items": [], "files": []}"#,
        r#"{"items": [{"path": "report.json"}], "items": []}"#,
        r#"["report.json"]"#,
        r#"[{"name": "report.json"}]"#,
        r#"[{"path": 1}]"#,
        r#"[{"path": "report.json", "path": "Z/nested.txt"}]"#,
        r#"[{"path": "report.json", "sha256": null}]"#,
        r#"[{"path": "report.json", "sha256_hex": "abc"}]"#,
        &format!(r#"[{{"path": "report.json", "bundle_digest": "{upper}"}}]"#),
        "[{\"path\": \"\u{0}",
    ] {
        world.write(&index, wrong);
        assert_refused(
            &refusal(&world, "out.lex").await,
            "GATE_INDEX_INVALID",
            &index,
        );
    }
    world.write(&index, [0xff, 0xfe]);
    assert_refused(
        &refusal(&world, "out.lex").await,
        "GATE_INDEX_INVALID",
        &index,
    );

    let members = in_bundle("g.members", "index.json");
    world.write(
        &members,
        format!(
            r#"[{{"path": "report.json", "sha256": "{}"}}]"#,
            sha256("x")
        ),
    );
    let world = {
        world.write(&index, "[]");
        world
    };
    let error = world
        .receipts(&["out.members"], Digest)
        .await
        .pop()
        .unwrap()
        .failure
        .unwrap();
    assert_eq!(
        error.code, "GATE_INDEX_INVALID",
        "a member states its digest in the digest field"
    );
}

#[tokio::test]
async fn a_path_that_leaves_the_root_or_could_is_refused() {
    let world = World::whole();
    let index = in_bundle("g.lex", "index.json");
    for path in [
        "../report.json",
        "Z/../report.json",
        "/etc/hostname",
        "./report.json",
        "Z//nested.txt",
        "..",
        "",
        "/",
    ] {
        world.write(&index, serde_json::json!([{"path": path}]).to_string());
        let error = refusal(&world, "out.lex").await;
        assert_refused(&error, "OBJECT_PATH_REFUSED", &index);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_symlink_that_leaves_the_root_is_refused_wherever_it_stands() {
    let outside = tempfile::tempdir().unwrap();
    for (output, gate, file) in [
        ("out.bundle", "g.bundle", "report.json"),
        ("out.lex", "g.lex", "report.json"),
        ("out.lex", "g.lex", "_passed.flag"),
        ("out.lex", "g.lex", "index.json"),
        ("out.members", "g.members", "checks.jsonl"),
    ] {
        let world = World::whole();
        let key = in_bundle(gate, file);
        std::fs::rename(world.path(&key), outside.path().join("file")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("file"), world.path(&key)).unwrap();
        assert_refused(&refusal(&world, output).await, "OBJECT_PATH_REFUSED", &key);
    }
}

#[tokio::test]
async fn a_listed_file_that_does_not_exist_is_refused() {
    for (gate, output, file) in [
        ("g.bundle", "out.bundle", "none.json"),
        ("g.lex", "out.lex", "none.json"),
        ("g.lex", "out.lex", "plots/"),
        ("g.lex", "out.lex", "part-*.json"),
        ("g.members", "out.members", "none.json"),
    ] {
        let world = World::whole();
        let item = serde_json::json!([{"path": file, "sha256_hex": sha256("x")}]);
        world.write(&in_bundle(gate, "index.json"), item.to_string());
        let error = refusal(&world, output).await;
        assert_refused(&error, "GATE_FILE_MISSING", &in_bundle(gate, file));
    }
}

#[tokio::test]
async fn a_bundle_without_files_is_refused() {
    let world = World::whole();
    world.write(&in_bundle("g.lex", "index.json"), r#"{"files": []}"#);
    world.flag("g.lex", &sha256(""));
    world.write(
        &in_bundle("g.lex", "_passed.flag"),
        format!(r#"{{"bundle_digest": "{}"}}"#, sha256("")),
    );
    assert_refused(
        &refusal(&world, "out.lex").await,
        "GATE_BUNDLE_EMPTY",
        "g.lex",
    );

    world.write(
        &in_bundle("g.lex", "index.json"),
        r#"[{"path": "_passed.flag"}]"#,
    );
    assert_refused(
        &refusal(&world, "out.lex").await,
        "GATE_BUNDLE_EMPTY",
        "g.lex",
    );

    let world = World::whole();
    for file in ["Z/nested.txt", "checks.jsonl", "index.json", "report.json"] {
        world.remove(&in_bundle("g.bundle", file));
    }
    world.flag("g.bundle", &sha256(""));
    assert_refused(
        &refusal(&world, "out.bundle").await,
        "GATE_BUNDLE_EMPTY",
        "g.bundle",
    );
}

#[tokio::test]
async fn what_is_unknown_about_a_method_is_refused_for_that_gate_alone() {
    for (right, wrong) in [
        ("kind: sha256_bundle_digest", "kind: blake3_bundle_digest"),
        ("ordering: ascii_lex", "ordering: index_order"),
        (
            "exclude_filenames: [_passed.flag]",
            "exclude_filenames: [_passed.flag], salt: 7",
        ),
        (
            "exclude_filenames: [_passed.flag]",
            "exclude_filenames: [_passed.flag], path_base: bucket",
        ),
        ("digest_field: sha256_hex, ", ""),
        (
            "  bundle_root_template: data/validation/g.bundle/seed={seed}/\n",
            "",
        ),
    ] {
        let mut world = World::whole();
        world.gate_map = world.gate_map.replacen(right, wrong, 1);
        assert_refused(
            &refusal(&world, "out.bundle").await,
            "GATE_METHOD_UNSUPPORTED",
            "g.bundle",
        );
        world
            .clear_as(&["out.bundle"], Presence, Posture::Local, true)
            .await
            .unwrap();
        world.gate_map = world.gate_map.replace(
            "upstream_gate_dependencies: [g.bundle]",
            "upstream_gate_dependencies: []",
        );
        world.clear(&["out.lex"]).await.unwrap();
    }
}

#[tokio::test]
async fn gates_that_are_unknown_or_go_in_circles_are_refused() {
    let mut world = World::whole();
    assert_refused(
        &refusal(&world, "out.unknown").await,
        "GATE_UNKNOWN",
        "output out.unknown",
    );
    world.gate_map = world
        .gate_map
        .replace("[g.bundle, g.lex]", "[g.bundle, g.gone]");
    let error = refusal(&world, "out.members").await;
    assert_refused(&error, "GATE_UNKNOWN", "gate g.listed");
    world.gate_map = world.gate_map.replace("g.gone", "g.members");
    let error = refusal(&world, "out.members").await;
    assert_refused(
        &error,
        "GATE_DEPENDENCY_CYCLE",
        "g.members → g.listed → g.members",
    );
    let present = world
        .clear_as(&["out.members"], Presence, Posture::Local, true)
        .await;
    present.expect("presence mode follows no dependencies");
}

#[tokio::test]
async fn an_output_that_the_catalogue_does_not_have_is_refused_even_when_gates_are_waived() {
    let world = World::whole();
    let error = world
        .clear_as(&["out.x"], Digest, Posture::Local, false)
        .await
        .unwrap_err();
    assert_refused(&error, "OUTPUT_UNKNOWN", "out.x");
}

#[tokio::test]
async fn strict_posture_takes_no_waiver_and_no_mere_presence() {
    let world = World::agreeing();
    for (mode, require_gate_pass) in [(Digest, false), (Presence, true)] {
        let error = world
            .clear_as(&["out.lex"], mode, Posture::Strict, require_gate_pass)
            .await
            .unwrap_err();
        assert_refused(&error, "GATE_WAIVER_REFUSED", "trict");
    }
    world
        .clear_as(&["out.lex"], Digest, Posture::Strict, true)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_template_token_that_the_world_does_not_have_is_refused() {
    let mut world = World::whole();
    world.gate_map = world
        .gate_map
        .replacen("seed={seed}/_passed", "day={utc_day}/_passed", 1);
    assert_refused(
        &refusal(&world, "out.bundle").await,
        "TEMPLATE_TOKEN_MISSING",
        "utc_day",
    );
}

#[tokio::test]
async fn catalogue_and_gate_map_that_disagree_about_an_output_are_refused() {
    let (requires, authorizes) = (
        "read_requires_gates: [g.lex]",
        "authorizes_outputs: [out.lex]",
    );
    for (gates, outputs) in [
        ("read_requires_gates: []", authorizes),
        ("read_requires_gates: [g.bundle]", authorizes),
        (requires, "authorizes_outputs: []"),
        (requires, "authorizes_outputs: [out.Lex]"),
        (requires, "authorizes_outputs: [out.lex, out.free]"),
    ] {
        let mut world = World::agreeing();
        world.catalogue = world.catalogue.replace(requires, gates);
        world.gate_map = world.gate_map.replace(authorizes, outputs);
        // Local posture compares what is read; strict posture all outputs.
        for (output, posture) in [
            ("out.lex", Posture::Local),
            ("out.lex", Posture::Strict),
            ("out.bundle", Posture::Strict),
        ] {
            let cleared = world.clear_as(&[output], Digest, posture, true).await;
            if outputs.ends_with("out.free]") && posture == Posture::Local {
                cleared.unwrap();
                continue;
            }
            let error = cleared.expect_err(gates);
            assert_refused(&error, "CATALOGUE_GATES_DISAGREE", "out.");
        }
        world.clear(&["out.bundle"]).await.unwrap();
    }
}

#[tokio::test]
async fn a_gate_without_a_key_that_restricts_reading_is_refused() {
    for key in ["upstream_gate_dependencies", "authorizes_outputs"] {
        let value = match key {
            "authorizes_outputs" => "[out.lex]",
            _ => "[g.bundle]",
        };
        let spelled = format!("{key}: {value}");
        // No gate of the map has it.
        let whole = World::agreeing().gate_map;
        let spells_out = |line: &&str| !line.contains(key);
        let without: Vec<_> = whole.lines().filter(spells_out).collect();
        let error = gates::GateMap::parse("map.yaml", without.join("\n").as_bytes()).unwrap_err();
        assert_refused(&error, "GATE_MAP_UNREADABLE", key);

        for wrong in [
            format!("{key}: null"),
            spelled.to_ascii_uppercase(),
            spelled.replace('_', "-"),
            format!("{}: {value}", &key[..key.len() - 1]),
            format!("{}: {value}", key.replace('e', "")),
            "a_key_of_others: 1".to_owned(),
        ] {
            let wrong = whole.replacen(&spelled, &wrong, 1);
            let error = gates::GateMap::parse("map.yaml", wrong.as_bytes()).unwrap_err();
            assert_refused(&error, "GATE_MAP_UNREADABLE", "map.yaml");
        }
    }
}

#[tokio::test]
async fn where_gates_have_neither_key_an_output_must_require_each_of_them() {
    let mut world = World::agreeing();
    let is_kept =
        |line: &&str| !line.contains("upstream_gate") && !line.contains("authorizes_outputs");
    let kept = world.gate_map.lines().filter(is_kept);
    world.gate_map = kept.collect::<Vec<_>>().join("\n");
    // A gate that an output does not require might be the one that restricts it.
    for output in ["out.lex", "out.free"] {
        let error = world.clear(&[output]).await.unwrap_err();
        assert_refused(&error, "GATE_MAP_UNREADABLE", "authorizes_outputs");
    }
    world.catalogue = world.catalogue.replace(
        "read_requires_gates: [g.lex]",
        "read_requires_gates: [g.lex, g.bundle, g.listed, g.members]",
    );
    world.clear(&["out.lex"]).await.unwrap();
}

#[test]
fn a_map_in_which_no_gate_spells_a_key_out_is_read_and_a_misspelt_key_is_seen() {
    let gate =
        |more: &str| format!("gates:\n- gate_id: g\n  passed_flag_path_template: f\n  {more}\n");
    gates::GateMap::parse("map.yaml", gate("owner: us").as_bytes()).unwrap();
    for misspelt in [
        "upsteam_gate_depedencies: [g]",
        "upstraem_gate_deps: [g]",
        "Upstream-Gate-Dependencies: [g]",
        "autorises_ouputs: [o]",
        "authorized_outputs: [o]",
    ] {
        let error = gates::GateMap::parse("map.yaml", gate(misspelt).as_bytes());
        assert_refused(&error.unwrap_err(), "GATE_MAP_UNREADABLE", "misspelt");
    }
}

#[tokio::test]
async fn a_name_that_only_one_side_knows_is_refused_in_strict_posture() {
    for (catalogue, map) in [
        (
            (
                "primary_key: [id], read_requires_gates: []",
                "primary_key: [id], read_requires_gates: [g.elsewhere]",
            ),
            ("", ""),
        ),
        (("", ""), ("[out.lex]", "[out.lex, out.nowhere]")),
    ] {
        let mut world = World::agreeing();
        world.catalogue = world.catalogue.replace(catalogue.0, catalogue.1);
        world.gate_map = world.gate_map.replacen(map.0, map.1, 1);
        let error = world
            .clear_as(&["out.bundle"], Digest, Posture::Strict, true)
            .await
            .unwrap_err();
        assert_refused(&error, "CATALOGUE_GATES_DISAGREE", "where");
    }
}

#[tokio::test]
async fn a_dependency_that_a_merge_key_brings_in_is_verified() {
    let mut world = World::whole();
    world.gate_map = world.gate_map.replacen(
        "  upstream_gate_dependencies: [g.bundle]\n",
        "  <<: {upstream_gate_dependencies: [g.bundle]}\n",
        1,
    );
    world.remove(&in_bundle("g.bundle", "_passed.flag"));
    assert_refused(
        &refusal(&world, "out.lex").await,
        "GATE_PASS_MISSING",
        "g.bundle",
    );
}

#[test]
fn a_gate_map_that_is_none_is_refused_with_its_name() {
    use gates::GateMap;
    let with = |restrictions| {
        format!("gates:\n- gate_id: g\n  passed_flag_path_template: f\n{restrictions}\n")
    };
    for wrong in [
        "",
        "gates: 1",
        "gates:\n- {}",
        "- a",
        "gates: [",
        "\u{0}",
        "gates:\n",
        "- [{gate_id: g, passed_flag_path_template: f}]",
        &with("  authorizes_outputs:\n  upstream_gate_dependencies: []"),
        &with("  authorizes_outputs: []\n  upstream_gate_dependencies:"),
        &with("  <<: {authorizes_outputs: null, upstream_gate_dependencies: []}"),
    ] {
        let error = GateMap::parse("map.yaml", wrong.as_bytes()).unwrap_err();
        assert_refused(&error, "GATE_MAP_UNREADABLE", "map.yaml");
    }
    let twice = "gates:\n- {gate_id: g, passed_flag_path_template: f}\n- {gate_id: g, passed_flag_path_template: f}\n";
    let error = GateMap::parse("map.yaml", twice.as_bytes()).unwrap_err();
    assert_refused(&error, "GATE_MAP_UNREADABLE", "g twice");
    let error = GateMap::load(std::path::Path::new("no/such/map.yaml")).unwrap_err();
    assert_refused(&error, "GATE_MAP_UNREADABLE", "no/such/map.yaml");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn every_code_is_listed_once_and_in_upper_snake_case() {
    let mut codes: Vec<_> = ReasonCode::ALL.iter().map(|code| code.as_str()).collect();
    assert!(
        codes
            .iter()
            .all(|code| code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'))
    );
    assert!(
        ReasonCode::ALL
            .iter()
            .all(|code| code.advice().ends_with('.'))
    );
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), ReasonCode::ALL.len());
}

//! Pages that are what the program prints: its command line, and the keys of a profile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::wsp_cli;

/// The pages, by their paths in the repository, as the program of this build would have them.
pub fn pages() -> [(&'static str, String); 2] {
    [
        ("docs/reference/command-line.md", command_line()),
        ("docs/reference/profile.md", profile()),
    ]
}

const HEAD: &str =
    "<!-- `make reference` writes this page: change the program, not the page. -->\n\n";

fn said(args: &[&str]) -> String {
    let mut command = Command::new(wsp_cli());
    // Neither this machine's settings nor its terminal make another page.
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("COLUMNS", "100");
    let output = command.args(args).output().expect("wsp-cli runs");
    assert!(output.status.success(), "{args:?}: {output:?}");
    let said = String::from_utf8(output.stdout).expect("the program prints UTF-8");
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    lines.join("\n")
}

fn command_line() -> String {
    let mut page = String::from(HEAD);
    page.push_str(
        "# The command line\n\nWhat `wsp-cli COMMAND --help` prints, of every command. \
         [What commands print](../command-line.md) and [exit statuses](../exit-status.md) have \
         pages of their own.\n",
    );
    add_command(&mut page, &mut Vec::new());
    page
}

/// Adds a command's section and those of the commands below it.
fn add_command(page: &mut String, words: &mut Vec<String>) {
    let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
    args.push("--help");
    let help = said(&args);
    let name = ["wsp-cli"]
        .into_iter()
        .chain(words.iter().map(String::as_str));
    let name = name.collect::<Vec<_>>().join(" ");
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end());
    for command in commands_of(&help) {
        words.push(command);
        add_command(page, words);
        words.pop();
    }
}

/// The names that a help text lists under `Commands:`.
fn commands_of(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Where a key's default is from, by posture.
type Defaults = BTreeMap<String, (Option<String>, Option<String>)>;

fn profile() -> String {
    let schema: Value = serde_json::from_str(&said(&["schema", "wsp_profile"])).expect("a schema");
    let (local, strict) = (defaults("local"), defaults("strict"));
    let mut page = String::from(HEAD);
    page.push_str(
        "# Keys of a profile\n\nFrom the JSON Schema (`wsp-cli schema wsp_profile`) and from \
         `wsp-cli profile explain` of an empty profile in either posture. \
         [Profiles](../../config/platform/profiles/README.md) says how values are read, and which \
         variables stand for them.\n",
    );
    let mut rows = Vec::new();
    walk(&schema, &schema, "", &mut rows);
    let mut block = None;
    for row in rows {
        let (of, name) = row.key.rsplit_once('.').unwrap_or(("", &row.key));
        if block.as_deref() != Some(of) {
            block = Some(of.to_owned());
            let title = if of.is_empty() { "The profile" } else { of };
            let _ = write!(
                page,
                "\n## {title}\n\n| key | meaning | values | default |\n|---|---|---|---|\n"
            );
        }
        let default = default(&row.key, &local, &strict);
        let _ = writeln!(
            page,
            "| `{name}` | {} | {} | {default} |",
            row.meaning, row.values
        );
    }
    page
}

struct Row {
    key: String,
    meaning: String,
    values: String,
}

fn walk(schema: &Value, node: &Value, place: &str, rows: &mut Vec<Row>) {
    let keys = node["properties"].as_object();
    let keys: Vec<_> = keys.into_iter().flatten().collect();
    let is_block = |node: &Value| node.get("properties").is_some();
    // Keys first, blocks behind them: each has a table of its own.
    let ordered = keys.iter().filter(|(_, node)| !is_block(node));
    for (name, node) in ordered.chain(keys.iter().filter(|(_, node)| is_block(node))) {
        let key = format!("{place}{name}");
        if is_block(node) {
            walk(schema, node, &format!("{key}."), rows);
            continue;
        }
        let meaning = node["description"].as_str();
        let meaning = meaning.unwrap_or_else(|| panic!("{key} has no description in the schema"));
        rows.push(Row {
            meaning: meaning.replace('|', "\\|"),
            values: values(schema, node),
            key,
        });
    }
}

/// What a key takes, in words.
fn values(schema: &Value, node: &Value) -> String {
    let named = node["$ref"]
        .as_str()
        .and_then(|name| name.rsplit('/').next());
    let words = match named {
        Some("text" | "present") => "text",
        Some("number" | "optional_number") => "number, 0 or more",
        Some("whole") => "whole number, 0 or more",
        Some("natural") => "whole number, 1 or more",
        Some("lanes") => "1 to 4096",
        Some("shard") => "0 to 65535",
        Some("shards") => "1 to 65536",
        Some("flag") => "`true`, `false`",
        Some("ids") => "list of texts",
        Some("rate") => "number above 0, or steps",
        Some("absent") => "none",
        Some("condition") => "condition",
        Some(other) => panic!("{other} has no words: {}", schema["$defs"][other]),
        None => return values_in_place(schema, node),
    };
    words.to_owned()
}

fn values_in_place(schema: &Value, node: &Value) -> String {
    let one_of = node["anyOf"].as_array().and_then(|forms| forms.first());
    if let Some(names) = one_of.and_then(|form| form["enum"].as_array()) {
        let names = names.iter().filter_map(Value::as_str);
        return names
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match node["type"].as_str() {
        Some("array") => "list of conditions".to_owned(),
        _ if node.get("additionalProperties").is_some() => "map of texts".to_owned(),
        _ => panic!("{node} has no words, in {}", schema["$id"]),
    }
}

/// What `profile explain` says of a profile without keys: value and reason of each default.
fn defaults(posture: &str) -> Defaults {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("profile.yaml");
    let text = format!("profile_id: none\npolicy: {{posture: {posture}}}\n");
    std::fs::write(&file, text).expect("a profile");
    let file = file.to_str().expect("a UTF-8 path");
    let explained = said(&["--quiet", "profile", "explain", "--profile", file]);
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    let settings = explained["settings"].as_array().expect("settings");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let of = |setting: &Value| {
        let key = text(&setting["key"]).expect("a key");
        // The profile names a file; what is explained is the list in it.
        let key = if key == "policy.context_output_ids_baseline" {
            key + "_ref"
        } else {
            key
        };
        (key, (text(&setting["value"]), text(&setting["why"])))
    };
    settings.iter().map(of).collect()
}

/// The default of a key, and why: of both postures where they differ.
fn default(key: &str, local: &Defaults, strict: &Defaults) -> String {
    if key == "policy.posture" {
        return "`local` for the ids `local`, `dev_local`, `local_parity`; else `strict`"
            .to_owned();
    }
    let (Some((of_local, why)), Some((of_strict, _))) = (local.get(key), strict.get(key)) else {
        return "none".to_owned();
    };
    let shown = |value: &Option<String>| {
        value
            .as_ref()
            .map_or("none".to_owned(), |value| format!("`{value}`"))
    };
    let value = if of_local == of_strict {
        shown(of_local)
    } else {
        format!("local {}, strict {}", shown(of_local), shown(of_strict))
    };
    let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    (value + &why).replace('|', "\\|")
}

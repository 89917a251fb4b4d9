//! Each `lib.rs` and `mod.rs` lists its modules from top to bottom: a module imports from those
//! below it. So no two files import each other in a circle, and whoever reads a crate from its
//! last module up never meets a word before it was explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module by its names below the crate.
type ModulePath = Vec<String>;

struct Modules {
    /// The modules that each module lists, from top to bottom.
    listed: BTreeMap<ModulePath, Vec<String>>,
    /// The shipped text of each.
    texts: BTreeMap<ModulePath, String>,
}

impl Modules {
    fn of(source: &Path) -> Self {
        let mut modules = Self {
            listed: BTreeMap::new(),
            texts: BTreeMap::new(),
        };
        modules.read(&source.join("lib.rs"), Vec::new(), source);
        modules
    }

    fn read(&mut self, file: &Path, module: ModulePath, folder: &Path) {
        let text = shipped(&std::fs::read_to_string(file).unwrap());
        let listed = modules_listed(&text);
        for name in &listed {
            let beside = [format!("{name}.rs"), format!("{name}/mod.rs")];
            let found = beside.iter().map(|name| folder.join(name));
            if let Some(file) = found.into_iter().find(|file| file.exists()) {
                let inner = [&module[..], std::slice::from_ref(name)].concat();
                self.read(&file, inner, &folder.join(name));
            }
        }
        self.listed.insert(module.clone(), listed);
        self.texts.insert(module, text);
    }

    /// Imports of a module that its parent lists above the importing one, as sentences.
    fn upward(&self) -> Vec<String> {
        let mut upward = BTreeSet::new();
        for (module, text) in &self.texts {
            for target in targets(text, module) {
                let common = module.iter().zip(&target);
                let common = common.take_while(|(one, other)| one == other).count();
                let (Some(own), Some(other)) = (module.get(common), target.get(common)) else {
                    continue;
                };
                let listed = &self.listed[&module[..common]];
                let place = |name: &String| listed.iter().position(|listed| listed == name);
                if let (Some(own), Some(other)) = (place(own), place(other))
                    && other < own
                {
                    upward.insert(format!("{} from {}", module.join("::"), target.join("::")));
                }
            }
        }
        upward.into_iter().collect()
    }
}

/// A file without its tests and comments.
fn shipped(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests");
    let lines = text[..end.unwrap_or(text.len())].lines();
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    code.collect::<Vec<_>>().join("\n")
}

/// The modules that a file lists, but those of its tests.
fn modules_listed(text: &str) -> Vec<String> {
    let (mut listed, mut attributes) = (Vec::new(), String::new());
    for line in text.lines() {
        let module = line.split_once("mod ").and_then(|(visibility, rest)| {
            let is_item = visibility.is_empty() || visibility.starts_with("pub");
            is_item.then_some(rest.strip_suffix(';')?)
        });
        match module {
            Some(name) if !attributes.contains("test") => listed.push(name.to_owned()),
            None if !line.is_empty() && !line.ends_with(';') && !line.ends_with('}') => {
                // An attribute may take several lines.
                attributes.push_str(line);
                continue;
            }
            _ => {}
        }
        attributes.clear();
    }
    listed
}

/// The paths within its crate that a module names, `super` resolved, groups taken apart.
fn targets(text: &str, module: &[String]) -> Vec<ModulePath> {
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        let mut rest = &text[..];
        while let Some(at) = rest.find(start) {
            let before = rest[..at].chars().next_back();
            let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$';
            let path = &rest[at..];
            rest = &rest[at + start.len()..];
            if before.is_some_and(is_word) {
                continue;
            }
            let (mut base, mut path) = match path.strip_prefix("crate::") {
                Some(path) => (Vec::new(), path),
                None => (module.to_vec(), path),
            };
            while let Some(above) = path.strip_prefix("super::") {
                base.pop();
                path = above;
            }
            expand(&base, path, &mut found);
        }
    }
    found
}

/// Adds every path of a use tree that begins at `path`.
fn expand(base: &[String], path: &str, found: &mut Vec<ModulePath>) {
    let mut base = base.to_vec();
    let mut path = path;
    loop {
        if let Some(group) = path.strip_prefix('{') {
            for member in members(group) {
                expand(&base, member.trim(), found);
            }
            return;
        }
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
        let end = end.unwrap_or(path.len());
        base.push(path[..end].to_owned());
        match path[end..].strip_prefix("::") {
            Some(further) if end > 0 => path = further,
            _ => break,
        }
    }
    found.push(base);
}

/// What stands between a group's braces, by its commas.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut from, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[from..at]);
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    members
}

fn libraries() -> Vec<(String, PathBuf)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let folders = std::fs::read_dir(crates).unwrap();
    let sources = folders.map(|folder| folder.unwrap().path().join("src"));
    let libraries = sources.filter(|source| source.join("lib.rs").exists());
    let named = libraries.map(|source| {
        let name = source.parent().and_then(Path::file_name).unwrap();
        (name.to_str().unwrap().to_owned(), source)
    });
    named.collect()
}

#[test]
fn no_file_imports_from_one_that_is_listed_above_it() {
    let libraries = libraries();
    assert!(libraries.len() > 8, "{libraries:?}");
    let upward: Vec<String> = libraries
        .iter()
        .flat_map(|(name, source)| {
            let upward = Modules::of(source).upward();
            upward
                .into_iter()
                .map(move |edge| format!("{name}: {edge}"))
        })
        .collect();
    assert!(upward.is_empty(), "upward imports:\n{}", upward.join("\n"));
}

#[test]
fn an_import_from_above_is_found_however_it_is_spelt() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "pub mod roof;\nmod cellar;\n");
    for (text, is_upward) in [
        ("use crate::roof::Tile;", true),
        ("use super::{cellar::A, roof::{B, C}};", true),
        ("fn f() -> crate::roof::Tile { todo!() }", true),
        ("// use crate::roof::Tile;", false),
        ("use crate::cellar::Coal;", false),
        ("use other_crate::roof::Tile;", false),
        (
            "#[cfg(test)]\nmod tests {\n    use crate::roof::Tile;\n}",
            false,
        ),
    ] {
        write("cellar.rs", text);
        write("roof.rs", "use crate::cellar::Coal;");
        let upward = Modules::of(folder.path()).upward();
        assert_eq!(!upward.is_empty(), is_upward, "{text}: {upward:?}");
    }
}

#[test]
fn no_library_is_more_than_a_quarter_of_all() {
    let lines = |source: &Path| -> usize {
        let mut folders = vec![source.to_owned()];
        let mut lines = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    lines += std::fs::read_to_string(&path).unwrap().lines().count();
                }
            }
        }
        lines
    };
    let libraries: Vec<(String, usize)> = libraries()
        .into_iter()
        .map(|(name, source)| (name, lines(&source)))
        .collect();
    let all: usize = libraries.iter().map(|(_, lines)| lines).sum();
    for (name, lines) in &libraries {
        assert!(4 * lines <= all, "{name} has {lines} of {all} lines");
    }
}

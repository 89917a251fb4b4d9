//! Links of Markdown files: files that are there, headings that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A page's text without fenced blocks and code, which hold no links.
fn prose(page: &str) -> Vec<(usize, String)> {
    let (mut lines, mut fence) = (Vec::new(), 0);
    for (at, line) in page.lines().enumerate() {
        let bare = line.trim_start();
        let ticks = bare.len() - bare.trim_start_matches('`').len();
        if fence == 0 && ticks >= 3 {
            fence = ticks;
        } else if fence > 0 {
            if ticks >= fence && bare[ticks..].trim().is_empty() {
                fence = 0;
            }
        } else {
            lines.push((at + 1, without_code(line)));
        }
    }
    lines
}

/// A line with its code spans emptied.
fn without_code(line: &str) -> String {
    let parts = line.split('`').enumerate();
    let outside = parts.map(|(at, part)| if at % 2 == 0 { part } else { "" });
    outside.collect()
}

/// The targets of a line's links: `](target)`, `]: target`, `href="target"`.
fn targets(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (opening, closing) in [("](", ')'), ("href=\"", '"'), ("src=\"", '"')] {
        for behind in line.split(opening).skip(1) {
            let target = behind.split(closing).next().unwrap_or_default();
            found.push(target.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        found.push(target.trim().to_owned());
    }
    found
}

/// The anchors of a page's headings, as GitHub and mdBook name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let (mut anchors, mut fence) = (BTreeMap::<String, usize>::new(), false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fence = !fence;
        }
        let heading = line.trim_start_matches('#');
        let depth = line.len() - heading.len();
        if fence || !(1..=6).contains(&depth) || !heading.starts_with(' ') {
            continue;
        }
        *anchors
            .entry(slug(&without_links(heading.trim())))
            .or_default() += 1;
    }
    let named = anchors.into_iter().flat_map(|(slug, times)| {
        let again = (1..times)
            .map(|number| format!("{slug}-{number}"))
            .collect::<Vec<_>>();
        std::iter::once(slug).chain(again)
    });
    named.collect()
}

/// A heading whose links are their texts.
fn without_links(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, behind)) = rest.split_once("](") {
        text.push_str(before);
        rest = behind.split_once(')').map_or("", |(_, behind)| behind);
    }
    text + rest
}

fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect()
}

/// The links of some pages of a repository that lead nowhere, as sentences.
pub fn broken(repository: &Path, pages: &[PathBuf]) -> Vec<String> {
    let mut broken = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(repository.join(page)).expect("a readable page");
        for (line, prose) in prose(&text) {
            for target in targets(&prose) {
                if let Err(why) = follow(repository, page, &text, &target) {
                    broken.push(format!("{}:{line}: {target}: {why}", page.display()));
                }
            }
        }
    }
    broken
}

fn follow(repository: &Path, page: &Path, text: &str, target: &str) -> Result<(), String> {
    let is_elsewhere = ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| target.starts_with(scheme));
    if is_elsewhere {
        return Ok(());
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    if path.starts_with('/') {
        return Err("it is no relative link".to_owned());
    }
    let file = repository
        .join(page.parent().unwrap_or(Path::new("")))
        .join(path);
    let other;
    let there = if path.is_empty() {
        text
    } else {
        let is_inside = file
            .canonicalize()
            .is_ok_and(|file| file.starts_with(repository));
        if !is_inside {
            return Err("there is no such file in the repository".to_owned());
        }
        if anchor.is_empty() {
            return Ok(());
        }
        other = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        &other
    };
    if anchors(there).contains(anchor) {
        Ok(())
    } else {
        Err(format!("there is no heading #{anchor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_named_as_github_names_them() {
        let page = "# What `x` is, and [why](y.md)\n## A\n```\n# no\n```\n## A\n#not\n";
        let expected = ["a", "a-1", "what-x-is-and-why"].map(str::to_owned);
        assert_eq!(anchors(page), BTreeSet::from(expected));
    }

    #[test]
    fn links_that_lead_nowhere_are_told_with_page_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let page = "# A\n[1](b.md#b) [2](c.md) [3](#a) [4](b.md#c)\n`[5](d.md)`\n[6]: e.md\n[7](https://x/) [8](../../f)\n";
        std::fs::write(root.join("a.md"), page).unwrap();
        std::fs::write(root.join("b.md"), "# B\n").unwrap();
        let broken = broken(&root, &["a.md".into()]);
        let places: Vec<_> = broken
            .iter()
            .map(|said| said.split(": ").take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            places,
            [
                "a.md:2 c.md",
                "a.md:2 b.md#c",
                "a.md:4 e.md",
                "a.md:5 ../../f"
            ]
        );
    }
}

//! The Markdown files of the repository, and the fenced blocks in them.

use std::fmt;
use std::path::{Path, PathBuf};

/// Folders of builds, of git and of other people's pages.
const NOT_OURS: [&str; 7] = [
    "target",
    ".git",
    ".demo",
    "node_modules",
    "corpus",
    "artifacts",
    "uplot",
];

/// The repository.
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository is there")
}

/// Every Markdown file of the repository, as a path from its root, in order.
pub fn all() -> Vec<PathBuf> {
    let root = repository();
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !NOT_OURS.contains(&name.as_ref()) {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                let inside = path.strip_prefix(&root).expect("a path inside");
                found.push(inside.to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The pages whose blocks are run: those that tell a reader what to type.
pub fn with_commands() -> Vec<PathBuf> {
    let told = |page: &PathBuf| page.starts_with("docs") || page.starts_with("config");
    let mut pages: Vec<PathBuf> = all().into_iter().filter(told).collect();
    pages.extend(["README.md".into(), "ARCHITECTURE.md".into()]);
    pages
}

/// One fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    /// What stands behind the opening fence.
    pub info: String,
    /// What the HTML comment on the line before it says.
    pub comment: Option<String>,
    /// Its lines, without the indentation of the fence, each with its line end.
    pub text: String,
}

impl Block {
    /// The language: what stands before the first comma.
    pub fn language(&self) -> &str {
        self.info.split(',').next().unwrap_or_default()
    }

    /// Whether the page says that the block cannot run here.
    pub fn is_not_run(&self) -> bool {
        self.info.ends_with(",not-run")
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the block `{}` in line {}", self.info, self.line)
    }
}

/// What a comment of one line says.
fn comment(line: &str) -> Option<String> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(inner.trim().to_owned())
}

/// The fenced blocks of a page; a fence that is never closed goes to the page's end.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut before = "";
    while let Some((at, line)) = lines.next() {
        let bare = line.trim_start();
        let ticks = bare.len() - bare.trim_start_matches('`').len();
        if ticks >= 3 {
            let indent = line.len() - bare.len();
            let mut text = String::new();
            for (_, line) in lines.by_ref() {
                let is_close = line.trim().len() >= ticks && line.trim().bytes().all(|b| b == b'`');
                if is_close {
                    break;
                }
                let margin = line.len() - line.trim_start().len();
                text.push_str(&line[margin.min(indent)..]);
                text.push('\n');
            }
            blocks.push(Block {
                line: at + 1,
                info: bare[ticks..].trim().to_owned(),
                comment: comment(before),
                text,
            });
        }
        before = line;
    }
    blocks
}

/// The servers that a page asks for, by `<!-- needs: NAME -->`.
pub fn needs(page: &str) -> Vec<String> {
    let comments = page.lines().filter_map(comment);
    let needs = comments.filter_map(|said| Some(said.strip_prefix("needs: ")?.to_owned()));
    needs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_line_words_comment_and_text() {
        let page = "a\n<!-- not run: why -->\n```sh,not-run\nx\n```\n\n- b\n\n  ````text\n  ```\n    y\n  ````\n";
        let blocks = blocks(page);
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[0].line, blocks[0].language()), (3, "sh"));
        assert!(blocks[0].is_not_run() && !blocks[1].is_not_run());
        assert_eq!(blocks[0].comment.as_deref(), Some("not run: why"));
        assert_eq!(blocks[0].text, "x\n");
        assert_eq!(
            (blocks[1].text.as_str(), &blocks[1].comment),
            ("```\n  y\n", &None)
        );
    }

    #[test]
    fn servers_are_asked_for_by_comments() {
        assert_eq!(needs("a\n<!-- needs: s3 -->\n<!-- b -->\n"), ["s3"]);
    }
}

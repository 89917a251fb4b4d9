//! Every block of every page is run, compared, compiled or parsed: what cannot be is counted here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use system_tests::docs::pages::{blocks, repository, with_commands};
use system_tests::docs::{Finding, check_page};

/// Pages that are run side by side: most of a page is waiting.
const READERS: usize = 3;

/// How many blocks of a page are not run, each with its reason before it. A page that is not
/// listed has none.
const NOT_RUN: [(&str, usize); 1] = [("docs/fuzzing.md", 1)];

fn text(page: &Path) -> String {
    std::fs::read_to_string(repository().join(page)).unwrap()
}

#[test]
fn every_block_of_every_page_does_what_the_page_says() {
    let pages = Mutex::new(with_commands());
    let findings = Mutex::new(Vec::<Finding>::new());
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                loop {
                    let Some(page) = pages.lock().unwrap().pop() else {
                        return;
                    };
                    let found = check_page(&page, &text(&page));
                    findings.lock().unwrap().extend(found);
                }
            });
        }
    });
    let findings = findings.into_inner().unwrap();
    let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(said.is_empty(), "\n{}", said.join("\n\n"));
}

#[test]
fn blocks_that_are_not_run_are_few_and_counted() {
    let mut counted = BTreeMap::new();
    for page in with_commands() {
        let left_out = blocks(&text(&page))
            .iter()
            .filter(|block| block.is_not_run())
            .count();
        if left_out > 0 {
            counted.insert(page, left_out);
        }
    }
    let listed = NOT_RUN.map(|(page, blocks)| (PathBuf::from(page), blocks));
    assert_eq!(counted, BTreeMap::from(listed));
}

/// What is found in a page of one's own.
fn found(page: &str) -> Vec<(usize, String)> {
    let findings = check_page(Path::new("page.md"), page);
    let told = findings
        .into_iter()
        .map(|finding| (finding.line, finding.what));
    told.collect()
}

#[test]
fn a_command_that_fails_is_found_where_it_stands() {
    let found =
        found("```sh\ntrue\n```\n\n```sh\necho here; false\ntrue\n```\n\n```sh\ntrue\n```\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let (line, what) = &found[0];
    assert_eq!(*line, 5);
    assert!(what.contains("status 1") && what.contains("here"), "{what}");
}

#[test]
fn an_output_that_a_page_makes_up_is_found() {
    let page = |output: &str| {
        format!(
            "```sh\nx=1\n```\n```sh\necho $x at 127.0.0.1:$((8000 + 81))\n```\n```text,output\n{output}\n```\n"
        )
    };
    assert_eq!(found(&page("1 at 127.0.0.1:8081")), []);
    assert_eq!(found(&page("1 at …")), []);
    let lines: Vec<_> = found(&page("2 at …"))
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [7]);
}

#[test]
fn blocks_that_nothing_looks_at_are_found() {
    for block in [
        "```\nx\n```\n",
        "```console\n$ x\n```\n",
        "```sh,not-run\nx\n```\n",
        "```yaml\npolicy: {posture: fast}\n```\n",
        "```json\n{\n```\n",
        "<!-- from Makefile -->\n```rust\nfn no() {}\n```\n",
        "```rust\nfn no() {}\n```\n",
    ] {
        assert_eq!(found(block).len(), 1, "{block}");
    }
    assert_eq!(found("<!-- not run: why -->\n```sh,not-run\nx\n```\n"), []);
    assert_eq!(found("```yaml\npolicy: {posture: local}\n```\n"), []);
}

#[test]
fn what_a_page_leaves_running_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let page = format!(
        "```sh\nsleep 600 >/dev/null 2>&1 &\necho $! > {}\n```\n",
        file.display()
    );
    assert_eq!(found(&page), []);
    let pid = std::fs::read_to_string(&file).unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // Its parent may not have waited for it yet.
    let is_over = || state().map_or(true, |stat| stat.contains(") Z "));
    while !is_over() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

//! The exit statuses of `docs/exit-status.md` are those of each command's `--help`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(system_tests::wsp_cli());
    let said = command.args(arguments).arg("--help").output().unwrap();
    assert!(said.status.success(), "{arguments:?}");
    // Long lines are broken where they fit a terminal.
    let said = String::from_utf8(said.stdout).unwrap();
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of the table: a command, and what each of its statuses means.
fn table() -> Vec<(String, Vec<(String, String)>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exit-status.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: Vec<Vec<String>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'))
        .map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    let names = rows[0].clone();
    let of_row = |row: &Vec<String>| {
        let cells = names.iter().cloned().zip(row.iter().cloned()).skip(1);
        let meanings = cells.filter(|(_, meaning)| !meaning.is_empty()).collect();
        (row[0].trim_matches('`').to_owned(), meanings)
    };
    rows[1..].iter().map(of_row).collect()
}

#[test]
fn every_command_says_the_statuses_that_the_page_lists_and_no_others() {
    let all = help(&[]);
    let mut listed = BTreeSet::new();
    for (command, meanings) in table() {
        let said = help(&[&command]);
        let (_, said) = said
            .split_once("Exit status: ")
            .unwrap_or_else(|| panic!("{command}: {said}"));
        let meanings = meanings
            .iter()
            .map(|(status, meaning)| format!("{status} {meaning}"));
        assert_eq!(said, meanings.collect::<Vec<_>>().join(" "), "{command}");
        listed.insert(command);
    }
    let (_, commands) = all.split_once("Commands: ").unwrap();
    for command in &listed {
        assert!(
            commands.contains(&format!("{command} ")),
            "{command} is no command"
        );
    }
    let known = Command::new(system_tests::wsp_cli())
        .arg("--help")
        .output()
        .unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let names = known
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    let names = names.take_while(|line| !line.is_empty());
    let names = names.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: BTreeSet<String> = names
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|name| name != "help")
        .collect();
    assert_eq!(names, listed);
}

//! What a terminal showed, and whether it is what a page shows.

/// What people see of a terminal's output: no control sequences, and of a line that was written
/// over only what was left of it.
pub(super) fn plain(output: &str) -> String {
    let mut seen = String::new();
    for line in output.split('\n') {
        let line = without_sequences(line.trim_end_matches('\r'));
        seen.push_str(line.rsplit('\r').next().unwrap_or_default());
        seen.push('\n');
    }
    seen
}

/// A line without `ESC [ … letter`.
fn without_sequences(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        text.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    text
}

/// Whether lines are those that a page shows: `…` stands for any text in a line, and alone in a
/// line for any number of lines.
pub(super) fn matches(shown: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        let text = text.trim_matches('\n');
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    matches_lines(&lines(shown), &lines(printed))
}

fn matches_lines(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [rest, shown @ ..] if rest.trim() == "…" => {
            (0..=printed.len()).any(|skipped| matches_lines(shown, &printed[skipped..]))
        }
        [line, shown @ ..] => printed.split_first().is_some_and(|(first, printed)| {
            matches_line(line, first) && matches_lines(shown, printed)
        }),
    }
}

fn matches_line(shown: &str, printed: &str) -> bool {
    let mut texts = shown.split('…');
    let first = texts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut texts: Vec<&str> = texts.collect();
    let Some(last) = texts.pop() else {
        return rest.is_empty();
    };
    for text in texts {
        let Some(at) = rest.find(text) else {
            return false;
        };
        rest = &rest[at + text.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_was_left_of_a_line_that_was_written_over() {
        assert_eq!(
            plain("10 %\r20 %\r\x1b[2Kdone\r\n\x1b[1;32mOK\x1b[0m\r\n"),
            "done\nOK\n\n"
        );
    }

    #[test]
    fn an_ellipsis_stands_for_text_in_a_line_and_for_lines_alone() {
        assert!(matches("a … c\n…\nz\n", "a b c\nd\ne\nz\n"));
        assert!(matches("a\n…\nz\n", "a\nz"));
        for (shown, printed) in [
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a … c", "a b d"),
            ("…\nz", "a\nb"),
            ("a…a", "a"),
        ] {
            assert!(!matches(shown, printed), "{shown:?} is not {printed:?}");
        }
    }
}

//! Texts of a run within HTML, and tables of them.

use std::fmt::{Display, Write as _};

use serde::Serialize;

/// A text as it stands between tags or in a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // A browser would drop or misread them.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// JSON as it stands in a `script` element: the same value, without a character that could end the
/// element or begin a comment in it.
pub(super) fn escaped_json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// A choice as the report spells it: `business_traffic`.
pub(super) fn name_of(choice: &impl Serialize) -> String {
    let name = serde_json::to_value(choice).ok();
    let name = name.as_ref().and_then(|name| name.as_str());
    name.unwrap_or_default().to_owned()
}

/// A number with a comma at each thousand.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Milliseconds to two digits behind the point, or a dash.
pub(super) fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    /// A text of the run.
    Text(String),
    /// A number, which stands at the right.
    Number(String),
}

impl Cell {
    pub(super) fn text(text: impl Display) -> Self {
        Self::Text(text.to_string())
    }

    pub(super) fn count(number: u64) -> Self {
        Self::Number(count(number))
    }
}

/// A section with a table; the first cell of each row is its head. Nothing without rows.
pub(super) fn table(title: &str, heads: &[&str], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let title = escaped(title);
    let mut out = format!(
        "<section class=\"card\">\n<h2>{title}</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n<table>\n"
    );
    out += "<thead><tr>";
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(head));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let (class, text) = match cell {
                Cell::Text(text) => ("", text),
                Cell::Number(text) => (" class=\"number\"", text),
            };
            let (open, close) = if at == 0 {
                ("th scope=\"row\"", "th")
            } else {
                ("td", "td")
            };
            let _ = write!(out, "<{open}{class}>{}</{close}>", escaped(text));
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table>\n</div>\n</section>\n"
}

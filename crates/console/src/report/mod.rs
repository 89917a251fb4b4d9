//! The report of a run as one HTML file: read without a network, on a phone, on paper, and without
//! JavaScript but for its plots.
//!
//! ```text
//! StreamReport ──► judgement   whole? on time? undisturbed?   ──┐
//!              ──► sections    tables                         ──┼──► one document, its style and
//!              ──► plots       columns as JSON, for uPlot     ──┘    scripts inside
//! ```
//!
//! Whatever comes from a run is text: it is escaped where it stands in markup, and no `<` is left
//! in the data of the plots, so that nothing in it can end the element that it stands in.

mod sections;
mod judgement;
mod plots;
mod markup;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use wsp::StreamReport;

use crate::page::{PLOT_SCRIPT, PLOT_STYLE};
use judgement::{Judgement, judgements};
use markup::{escaped, escaped_json};

const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");

/// The report as one HTML document, at most 300 KB beside what the run itself brings.
///
/// ```
/// use wsp::StreamReport;
///
/// let json = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/report.json"))?;
/// let html = console::report_html(&StreamReport::read(&json)?);
/// assert!(html.starts_with("<!doctype html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn report_html(report: &StreamReport) -> String {
    let title = format!(
        "{} {}",
        judgement::status_words(report),
        report
            .platform_run_id
            .as_ref()
            .map_or("a run of the World Stream Producer", |run| run.as_str())
    );
    let mut page = String::with_capacity(256 << 10);
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    let _ = writeln!(
        page,
        "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">",
        policy()
    );
    let _ = writeln!(page, "<title>{}</title>", escaped(&title));
    let _ = writeln!(
        page,
        "<style>{PLOT_STYLE}</style>\n<style>{STYLE}</style>\n</head>\n<body>"
    );
    page += &header(report);
    page += "<main>\n";
    page += &sections::facts(report);
    if report.timeline.is_some() {
        page += plots::PLACES;
    }
    page += &sections::tables(report);
    page += "</main>\n";
    if let Some(data) = plots::data(report) {
        let _ = writeln!(
            page,
            "<script type=\"application/json\" id=\"plots\">{}</script>",
            escaped_json(&data)
        );
        let _ = writeln!(
            page,
            "<script>{PLOT_SCRIPT}</script>\n<script>{SCRIPT}</script>"
        );
    }
    page += "</body>\n</html>\n";
    page
}

/// What the document may do: nothing but its own styles and scripts, each by its digest.
fn policy() -> String {
    let source = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; script-src {} {}; style-src {} {}; base-uri 'none'; form-action 'none'",
        source(PLOT_SCRIPT),
        source(SCRIPT),
        source(PLOT_STYLE),
        source(STYLE)
    )
}

/// What says at a glance how the run went.
fn header(report: &StreamReport) -> String {
    let mut header = String::from("<header>\n<h1>");
    header += &escaped(judgement::status_words(report));
    if let Some(reason) = report.reason {
        let _ = write!(header, " <span class=\"reason\">{}</span>", escaped(reason));
    }
    header += "</h1>\n";
    if let Some(root) = &report.engine_run_root {
        let _ = writeln!(header, "<p class=\"sub\">{}</p>", escaped(root));
    }
    header += "<ul class=\"verdicts\">\n";
    for Judgement { tone, word, why } in judgements(report) {
        let _ = writeln!(
            header,
            "<li class=\"{}\"><strong>{}</strong> <span>{}</span></li>",
            tone.class(),
            escaped(word),
            escaped(&why)
        );
    }
    header += "</ul>\n";
    if let Some(detail) = &report.detail {
        let _ = writeln!(header, "<p class=\"detail\">{}</p>", escaped(detail));
    }
    header + "</header>\n"
}

#[cfg(test)]
mod tests;

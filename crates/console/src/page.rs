//! The live page: one document with its style and script inside, and the policy that lets nothing
//! else run.

use std::sync::OnceLock;

use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("../assets/page.html");
const STYLE: &str = include_str!("../assets/page.css");
const SCRIPT: &str = include_str!("../assets/page.js");
pub(crate) const PLOT_STYLE: &str = include_str!("../assets/uplot/uPlot.min.css");
pub(crate) const PLOT_SCRIPT: &str = include_str!("../assets/uplot/uPlot.iife.min.js");

/// The page, and what it may do.
#[derive(Debug)]
pub(crate) struct Page {
    html: String,
    policy: String,
}

impl Page {
    /// The page of this program.
    pub(crate) fn get() -> &'static Self {
        static PAGE: OnceLock<Page> = OnceLock::new();
        PAGE.get_or_init(Self::new)
    }

    fn new() -> Self {
        let parts = [
            ("/*plot-style*/", PLOT_STYLE),
            ("/*style*/", STYLE),
            ("/*plot-script*/", PLOT_SCRIPT),
            ("/*script*/", SCRIPT),
        ];
        let html = parts
            .into_iter()
            .fold(DOCUMENT.to_owned(), |html, (mark, text)| {
                html.replacen(mark, text, 1)
            });
        let styles = format!("{} {}", source(PLOT_STYLE), source(STYLE));
        let scripts = format!("{} {}", source(PLOT_SCRIPT), source(SCRIPT));
        let policy = format!(
            "default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html, policy }
    }

    pub(crate) fn html(&'static self) -> &'static str {
        &self.html
    }

    pub(crate) fn headers(&'static self) -> [(HeaderName, &'static str); 2] {
        [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, &self.policy),
        ]
    }
}

/// What a policy calls an inline text by.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// What stands between the tags of each element of this name.
    fn inside(html: &str, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let elements = html.split(&open).skip(1);
        let inside = elements.map(|rest| rest.split(&close).next().unwrap().to_owned());
        inside.collect()
    }

    #[test]
    fn the_policy_names_every_inline_text_and_nothing_else_runs() {
        let page = Page::get();
        for (name, directive) in [("script", "script-src"), ("style", "style-src")] {
            let texts = inside(page.html(), name);
            assert_eq!(texts.len(), 2, "{name}");
            assert_eq!(page.html().matches(&format!("<{name}")).count(), 2);
            let allowed = page
                .policy
                .split(';')
                .find(|part| part.trim().starts_with(directive));
            let allowed = allowed.unwrap();
            for text in texts {
                assert!(allowed.contains(&source(&text)), "{name}");
            }
            assert!(!allowed.contains("unsafe"));
        }
        // Neither attributes that run nor anything from elsewhere.
        for wrong in [" onclick", " onload", " style=", "src=", "https://"] {
            assert!(!DOCUMENT.contains(wrong), "{wrong}");
        }
        for wrong in [
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "https://",
        ] {
            assert!(!SCRIPT.contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_plots_are_the_bytes_that_the_table_beside_them_says() {
        let table = include_str!("../assets/uplot/README.md");
        let licence = include_str!("../assets/uplot/LICENSE");
        for text in [PLOT_SCRIPT, PLOT_STYLE, licence] {
            let digest: [u8; 32] = Sha256::digest(text).into();
            let digest = digest.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            let row = table.lines().find(|line| line.contains(&digest));
            let length = format!("| {} |", text.len());
            assert!(row.is_some_and(|row| row.contains(&length)), "{digest}");
        }
    }
}

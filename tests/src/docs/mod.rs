//! What the pages say is what happens: their fenced blocks, run as a reader would; their links.
//!
//! | block | what becomes of it |
//! |---|---|
//! | `sh` | runs, after the page's earlier ones, in one shell |
//! | `text,output` | compared with what the block before it printed; `…` stands for anything |
//! | `text` | a picture or a format: not looked at |
//! | `yaml` | a profile, or a part of one: `profile check` takes it |
//! | `yaml,prometheus` | a configuration of Prometheus: `promtool` takes it |
//! | `json` | parsed, as one value or as one a line |
//! | `rust` | stands in the file that the comment before it names, which the build compiles |
//! | `…,not-run` | none of it; the comment before it says why |
//!
//! The comments are `<!-- from PATH -->` and `<!-- not run: WHY -->`, on the line before the block.
//! `<!-- needs: s3 -->` and `<!-- needs: postgres -->`, anywhere in a page, start a server for it.

pub mod links;
mod page_run;
mod transcript;
pub mod pages;
pub mod reference;

pub use page_run::{Finding, check_page};

//! The pages: what they tell a reader to type is run, what the program writes is compared, links
//! are followed.
#![allow(clippy::unwrap_used, missing_docs)]

mod links;
mod reference;
mod snippets;

//! What is told of a stream while it runs: to whoever watches, and to whoever keeps the record.
//!
//! | file | idea |
//! |---|---|
//! | [`journal`] | what happened, for the record |
//! | [`progress`] | a snapshot, a few times a second |
//! | [`acts`], [`state`] | what was asked of the stream, and what it is at |
//! | [`meters`] | borders, counted |

pub(crate) mod journal;
pub(crate) mod progress;
pub(crate) mod acts;
pub(crate) mod state;
pub(crate) mod meters;

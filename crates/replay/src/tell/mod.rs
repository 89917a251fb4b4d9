//! What is told of a stream while it runs: to whoever watches, and to whoever keeps the record.
//!
//! | file | idea |
//! |---|---|
//! | [`journal`] | what happened, for the record |
//! | [`progress`] | a snapshot, a few times a second |
//! | [`acts`], [`state`] | what was asked of the stream, and what it is at |
//! | [`state_changes`] | every change of what it is at |
//! | [`meters`], [`borders`] | borders, counted, and their event times |
//! | [`done_bell`] | wakes who waits for events to be done |

pub(crate) mod journal;
pub(crate) mod progress;
pub(crate) mod acts;
pub(crate) mod state_changes;
pub(crate) mod state;
pub(crate) mod meters;
pub(crate) mod borders;
pub(crate) mod done_bell;

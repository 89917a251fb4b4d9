//! What is told of a stream while it runs: to whoever watches, and to whoever keeps the record.
//!
//! | file | idea |
//! |---|---|
//! | [`journal`] | what happened, for the record |
//! | [`progress`] | a snapshot, a few times a second |
//! | [`acts`], [`state`] | what was asked of the stream, and what it is at |
//! | [`state_changes`] | every change of what it is at |
//! | [`meters`], [`borders`] | borders, counted, and their event times |
//! | [`counters`], [`lateness_histogram`] | what the stream has come to so far, for metrics |
//! | [`timeline`], [`timeline_report`], [`tally`] | the same over time, bounded |
//! | [`done_bell`] | wakes who waits for events to be done |

pub(crate) mod journal;
pub(crate) mod progress;
pub(crate) mod timeline;
pub(crate) mod timeline_report;
mod tally;
pub(crate) mod counters;
pub(crate) mod lateness_histogram;
pub(crate) mod acts;
pub(crate) mod state_changes;
pub(crate) mod state;
pub(crate) mod meters;
pub(crate) mod borders;
pub(crate) mod done_bell;

//! The streams of this machine: found by their control sockets, watched, steered.
//!
//! | file | idea |
//! |---|---|
//! | [`search`] | finds streams, and watches each until it ends |
//! | [`streams`] | the latest of every stream, for all who look |
//! | [`history`] | a stream over the last minutes, for the plots |
//! | [`ended`] | how a stream ended, from its audit |
//! | [`audit`] | the last lines of a stream's audit |
//! | [`snapshot`] | what a stream says of itself |

pub(crate) mod search;
pub(crate) mod streams;
mod history;
mod ended;
mod audit;
pub(crate) mod snapshot;

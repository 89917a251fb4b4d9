//! The store of the example `own_checkpoint_store`, with the tests in it: they run here, since
//! those of examples do not.

#[path = "../examples/own_checkpoint_store/journal.rs"]
mod journal;

//! An object store that fails, under the same reads.

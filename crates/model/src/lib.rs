//! The vocabulary of the World Stream Producer. Nothing here does IO.
//!
//! | file | idea |
//! |---|---|
//! | `clock` | time, injected |
//! | `hex` | digests and run ids, well-formed by construction |

mod clock;
mod hex;

pub use clock::Clock;
pub use hex::{Hex32, Hex64};

//! The key that a grant to read rows is made with. Only `gates` holds one.
//!
//! `oracle-store` opens rows for whoever shows a `ReadGrant`, and `gates` alone decides who gets
//! one. They are two crates, and Rust has no privacy between the two of them and all others.
//! This crate stands for it:
//!
//! - `oracle_store::ReadGrant::issue` takes a [`GrantKey`], and no crate re-exports the type. A
//!   crate that depends on `gates`, `oracle-store` or `wsp` cannot name it, nor reach it through
//!   an alias.
//! - A crate that depends on this one can name it and still has none: [`GrantKey::claim`]
//!   compares the file it is called from with the one file that may call it, which is
//!   `src/clearance.rs` of the `gates` beside this crate. In a `const` any other file is a
//!   compile error, elsewhere a panic.
//!
//! Only `gates` and `oracle-store` depend on this crate; a test of the workspace refuses others.
//!
//! ```compile_fail,E0080
//! const FORGED: grant::GrantKey = grant::GrantKey::claim();
//! ```

use std::panic::Location;

/// This file below the folder of all crates.
const OWN_FILE: &[u8] = b"grant/src/lib.rs";
/// The one file that claims a key, below the folder of all crates.
const ISSUER_FILE: &[u8] = b"gates/src/clearance.rs";

/// The right to issue a grant: each grant takes one. It has no default, no clone and no parsed
/// form.
#[derive(Debug)]
pub struct GrantKey(());

impl GrantKey {
    /// Claims a key, in a `const` of `gates/src/clearance.rs`.
    ///
    /// # Panics
    /// When it is called from any other file; in a `const`, that is a compile error.
    #[track_caller]
    #[must_use]
    pub const fn claim() -> Self {
        let caller = Location::caller().file().as_bytes();
        assert!(
            is_issuer(caller, file!().as_bytes()),
            "only the clearance of `gates` holds the key to grants: call `gates::attest` or \
             `gates::clear`, and read through the grant it gives"
        );
        Self(())
    }
}

/// Whether `caller` is the issuer's file beside `own`, the path of this file. The compiler
/// writes both paths in one way, since both crates lie in one folder of one checkout.
const fn is_issuer(caller: &[u8], own: &[u8]) -> bool {
    let folder = own.len() - OWN_FILE.len();
    if caller.len() != folder + ISSUER_FILE.len() {
        return false;
    }
    let mut at = 0;
    while at < caller.len() {
        let expected = if at < folder {
            own[at]
        } else {
            ISSUER_FILE[at - folder]
        };
        if caller[at] != expected {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_beside_this_crate_is_the_issuer() {
        let is = |caller: &str, own: &str| is_issuer(caller.as_bytes(), own.as_bytes());
        let own = "/a/crates/grant/src/lib.rs";
        assert!(is("/a/crates/gates/src/clearance.rs", own));
        assert!(is(
            "crates/gates/src/clearance.rs",
            "crates/grant/src/lib.rs"
        ));
        for other in [
            "gates/src/clearance.rs",
            "crates/gates/src/clearance.rs",
            "/b/crates/gates/src/clearance.rs",
            "/a/crates/gates/src/verify.rs",
            "/a/crates/x/../gates/src/clearance.rs",
            own,
            "",
        ] {
            assert!(!is(other, own), "{other}");
        }
    }

    #[test]
    #[should_panic(expected = "only the clearance of `gates`")]
    fn a_key_that_another_file_claims_while_it_runs_is_a_panic() {
        let claim: fn() -> GrantKey = GrantKey::claim;
        let _ = claim();
    }
}

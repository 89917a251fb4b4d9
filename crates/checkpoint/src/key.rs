//! Which cursor: a pack key and an output id.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The longest output id, in characters.
pub const MAX_OUTPUT_ID_CHARS: usize = 256;

/// 64 lowercase hex digits that name one world (or one world within one platform run).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackKey(String);

impl PackKey {
    /// Accepts an `oracle_pack_id` or a key made earlier.
    ///
    /// # Errors
    /// `CHECKPOINT_KEY_INVALID` unless it is 64 lowercase hex digits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(is_hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::KeyInvalid {
            what: "pack key",
            value: text.to_owned(),
            fault: "it is not 64 lowercase hex digits",
        })
    }

    /// The key of a world without a pack id: sha256 of its engine run root, the string as resolved
    /// (not canonicalised), a trailing `/` stripped.
    pub fn of_root(engine_run_root: &str) -> Self {
        Self(sha256_hex(engine_run_root.trim_end_matches('/').as_bytes()))
    }

    /// The key under `scope: platform_run`: sha256 of `pack_key|platform_run_id`.
    #[must_use]
    pub fn scoped_to_run(&self, platform_run_id: &str) -> Self {
        Self(sha256_hex(
            format!("{}|{platform_run_id}", self.0).as_bytes(),
        ))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one cursor. Keys order by pack key, then output id: the order leases are taken in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    pack_key: PackKey,
    output_id: String,
}

impl CursorKey {
    /// Names the cursor of one output of one pack.
    ///
    /// # Errors
    /// `CHECKPOINT_KEY_INVALID` if the output id is empty, longer than
    /// [`MAX_OUTPUT_ID_CHARS`] or holds a NUL.
    pub fn new(pack_key: PackKey, output_id: &str) -> Result<Self, Error> {
        let fault = match output_id.chars().count() {
            0 => "it is empty",
            n if n > MAX_OUTPUT_ID_CHARS => "it is longer than 256 characters",
            _ if output_id.contains('\0') => "it holds a NUL character",
            _ => {
                return Ok(Self {
                    pack_key,
                    output_id: output_id.to_owned(),
                });
            }
        };
        Err(Error::KeyInvalid {
            what: "output id",
            value: output_id.to_owned(),
            fault,
        })
    }

    /// The world.
    pub fn pack_key(&self) -> &PackKey {
        &self.pack_key
    }

    /// The output, as the catalogue spells it.
    pub fn output_id(&self) -> &str {
        &self.output_id
    }
}

impl fmt::Display for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pack {:.12}…)", self.output_id, self.pack_key.0)
    }
}

/// sha256 as 64 lowercase hex digits.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_key_is_64_lowercase_hex_digits() {
        assert!(PackKey::parse(&"a1".repeat(32)).is_ok());
        for wrong in ["", "a1", &"A1".repeat(32), &"g1".repeat(32)] {
            assert!(PackKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_key_of_a_root_is_the_sha256_of_its_string_without_a_trailing_slash() {
        // printf 'runs/local_full_run-5/abc' | sha256sum
        let golden = "41a1bbfa5ff6e5a845e66202a0020530bccd5e7da06883ea15b2331ef98ac17b";
        assert_eq!(
            PackKey::of_root("runs/local_full_run-5/abc").as_str(),
            golden
        );
        assert_eq!(
            PackKey::of_root("runs/local_full_run-5/abc/").as_str(),
            golden
        );
    }

    #[test]
    fn a_scoped_key_differs_by_platform_run() {
        let pack = PackKey::of_root("r");
        let one = pack.scoped_to_run("platform_20260128T090000Z");
        assert_eq!(
            one.as_str(),
            sha256_hex(format!("{pack}|platform_20260128T090000Z").as_bytes())
        );
        assert_ne!(one, pack.scoped_to_run("platform_20260129T090000Z"));
    }

    #[test]
    fn an_output_id_is_1_to_256_characters_without_nul() {
        let pack = PackKey::of_root("r");
        assert!(CursorKey::new(pack.clone(), &"é".repeat(256)).is_ok());
        for wrong in ["", "a\0b", &"é".repeat(257)] {
            assert!(CursorKey::new(pack.clone(), wrong).is_err());
        }
    }
}

//! Which cursor: a pack key and an output id.

use std::fmt;

use model::OutputId;
pub use model::PackKey;

use crate::error::{Error, key_invalid};

/// The longest output id that a cursor can be of, in characters.
pub const MAX_OUTPUT_ID_CHARS: usize = 256;

/// What stands in place of an output in the key of a layout of shards.
pub(crate) const LAYOUT: &str = "wsp:shards";

/// The name of one cursor. Keys order by pack key, then output id: the order leases are taken in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CursorKey {
    pack_key: PackKey,
    output_id: OutputId,
}

impl CursorKey {
    /// Names the cursor of one output of one pack.
    ///
    /// # Errors
    /// `CHECKPOINT_KEY_INVALID` if the output id is empty, longer than
    /// [`MAX_OUTPUT_ID_CHARS`] or holds a NUL.
    pub fn new(pack_key: PackKey, output_id: impl Into<OutputId>) -> Result<Self, Error> {
        let output_id = output_id.into();
        let name = output_id.as_str();
        let fault = match name.chars().count() {
            0 => "it is empty",
            n if n > MAX_OUTPUT_ID_CHARS => "it is longer than 256 characters",
            _ if name.contains('\0') => "it holds a NUL character",
            _ => {
                return Ok(Self {
                    pack_key,
                    output_id,
                });
            }
        };
        Err(key_invalid("output id", name, fault))
    }

    /// Whether it names the layout of the stream's shards, and no output.
    pub fn is_of_layout(&self) -> bool {
        self.output_id.as_str() == LAYOUT
    }

    /// The key of the world's pack.
    pub fn pack_key(&self) -> &PackKey {
        &self.pack_key
    }

    /// The output, as the catalogue spells it.
    pub fn output_id(&self) -> &OutputId {
        &self.output_id
    }
}

impl fmt::Display for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pack {:.12}…)", self.output_id, self.pack_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_id_is_1_to_256_characters_without_nul() {
        let pack = PackKey::of_root("r");
        assert!(CursorKey::new(pack.clone(), "é".repeat(256)).is_ok());
        for wrong in ["", "a\0b", &"é".repeat(257)] {
            assert!(CursorKey::new(pack.clone(), wrong).is_err());
        }
    }
}

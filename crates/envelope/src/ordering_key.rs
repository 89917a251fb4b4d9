//! Ordering keys: which events must arrive in order.
//!
//! An event's ordering key is the text of the first primary-key column that is not a world pin
//! ([`Pins::COLUMNS`]), in the spelling of the event id; without such a column it is the output id.
//! The output's name is not part of it, so the same value in two outputs is the same key. Keys are
//! compared by their FNV-1a hash of 64 bits: two keys that collide are merely kept in order
//! together.

use crate::pins::Pins;

/// The stable hash of an ordering key's text: FNV-1a, 64 bits, over its UTF-8 bytes.
pub const fn ordering_key(text: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < text.len() {
        hash = (hash ^ text[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash
}

/// Which of the primary-key columns orders events, if one does.
pub(crate) fn ordering_column(primary_key: &[String]) -> Option<usize> {
    primary_key
        .iter()
        .position(|column| !Pins::COLUMNS.contains(&column.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_as_published() {
        assert_eq!(ordering_key(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(ordering_key(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(ordering_key(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn world_pins_never_order_events() {
        let key = |columns: &[&str]| columns.iter().map(ToString::to_string).collect::<Vec<_>>();
        let columns = key(&[
            "seed",
            "manifest_fingerprint",
            "scenario_id",
            "flow_id",
            "event_seq",
        ]);
        assert_eq!(ordering_column(&columns), Some(3));
        assert_eq!(
            ordering_column(&key(&["manifest_fingerprint", "run_id"])),
            None
        );
    }
}

//! Ordering keys: which events must arrive in order.
//!
//! An event's ordering key is the text of the first primary-key column that is not a world pin
//! ([`Pins::COLUMNS`]), in the spelling of the event id; without such a column it is the output id.
//! The output's name is not part of it, so the same value in two outputs is the same key. Keys are
//! compared by their XXH3 hash of 64 bits: two keys that collide are merely kept in order together.
//! The low half of the hash decides the shard and the bucket of an event, the high half its lane.

use twox_hash::XxHash3_64;

use crate::pins::Pins;

/// The key hash: XXH3, 64 bits, without a seed, over the UTF-8 bytes of an ordering key's text.
pub fn ordering_key(text: &[u8]) -> u64 {
    XxHash3_64::oneshot(text)
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
    fn the_hash_is_xxh3_as_published() {
        // As the reference library (`xxhash` for Python, 4.1) gives them.
        assert_eq!(ordering_key(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(ordering_key(b"a"), 0xe6c6_32b6_1e96_4e1f);
        assert_eq!(ordering_key(b"merchant-000042"), 0x55c7_066d_b70a_52e4);
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

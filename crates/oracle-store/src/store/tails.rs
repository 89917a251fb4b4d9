//! The ends of remote parts that were read lately: most footers, and many whole parts.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::part::Pin;

/// How much of the end of a part is fetched at once: most footers fit, and many parts.
pub(super) const TAIL_BYTES: u64 = 64 << 10;

/// The ends of parts that were read lately, so that a footer is fetched once.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<Vec<Tail>>);

#[derive(Debug)]
struct Tail {
    key: Arc<str>,
    pin: Arc<Pin>,
    bytes: Bytes,
}

/// At most 4 MiB in all.
const TAILS_KEPT: usize = 64;

impl Tails {
    pub(super) fn get(&self, key: &str, pin: &Pin) -> Option<Bytes> {
        let tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tails
            .iter()
            .find(|tail| *tail.key == *key && *tail.pin == *pin);
        known.map(|tail| tail.bytes.clone())
    }

    /// Keeps a window if it is its object's tail.
    pub(super) fn keep(&self, key: &Arc<str>, pin: &Arc<Pin>, start: u64, bytes: &Bytes) {
        if start != pin.size.saturating_sub(TAIL_BYTES) || bytes.len() as u64 + start != pin.size {
            return;
        }
        let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tails.retain(|tail| tail.key != *key);
        if tails.len() == TAILS_KEPT {
            tails.remove(0);
        }
        tails.push(Tail {
            key: Arc::clone(key),
            pin: Arc::clone(pin),
            bytes: bytes.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tails_of_many_parts_are_bounded_and_held_to_their_pins() {
        let tails = Tails::default();
        let pin = |etag: usize| {
            Arc::new(Pin {
                size: 10,
                etag: etag.to_string(),
            })
        };
        let bytes = Bytes::from_static(b"0123456789");
        for part in 0..=TAILS_KEPT {
            tails.keep(&part.to_string().into(), &pin(part), 0, &bytes);
        }
        assert_eq!(tails.get("0", &pin(0)), None, "the oldest is given up");
        assert_eq!(tails.get("1", &pin(1)), Some(bytes.clone()));
        assert_eq!(
            tails.get("1", &pin(2)),
            None,
            "other bytes are another object"
        );
        tails.keep(&"x".into(), &pin(1), 0, &bytes.slice(..5));
        assert_eq!(tails.get("x", &pin(1)), None, "only whole tails are kept");
    }
}

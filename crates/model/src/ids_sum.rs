//! Sums of event ids: a figure that is the same however events are divided and ordered.
//!
//! Event ids are taken as integers of 256 bits, big endian, and added modulo 2^256. Two sets of
//! distinct ids with equal counts and equal sums are the same set, but for chances of 2^-256.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::hex::Hex64;

/// A sum of event ids modulo 2^256. Its text is 64 lowercase hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct IdsSum {
    /// The least significant first.
    words: [u64; 4],
}

impl IdsSum {
    /// The sum of one id alone.
    pub fn of(id: &[u8; 32]) -> Self {
        let (chunks, _) = id.as_chunks::<8>();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().rev().zip(chunks) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self { words }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: Self) {
        let mut carry = false;
        for (word, more) in self.words.iter_mut().zip(other.words) {
            let (sum, over) = word.overflowing_add(more);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over | over_again;
        }
    }

    /// This sum without another that it holds.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        let mut left = self;
        let mut borrow = false;
        for (word, less) in left.words.iter_mut().zip(other.words) {
            let (rest, under) = word.overflowing_sub(less);
            let (rest, under_again) = rest.overflowing_sub(u64::from(borrow));
            *word = rest;
            borrow = under | under_again;
        }
        left
    }

    /// The sum that a text of 64 lowercase hex digits is; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = Hex64::parse(text)?;
        let mut words = [0; 4];
        for (place, word) in words.iter_mut().rev().enumerate() {
            let digits = &digits.as_str()[place * 16..][..16];
            *word = u64::from_str_radix(digits, 16).ok()?;
        }
        Some(Self { words })
    }
}

impl fmt::Display for IdsSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, second, third, high] = self.words;
        write!(f, "{high:016x}{third:016x}{second:016x}{low:016x}")
    }
}

impl fmt::Debug for IdsSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for IdsSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IdsSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("it is not 64 lowercase hex digits"))
    }
}

/// How many events there are, and the sum of their ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdTally {
    /// The number of events.
    pub events: u64,
    /// The sum of their ids.
    pub ids_sum: IdsSum,
}

impl IdTally {
    /// Counts one event.
    pub fn count(&mut self, id: &[u8; 32]) {
        self.events += 1;
        self.ids_sum.add(IdsSum::of(id));
    }

    /// Adds the events of another tally.
    pub fn add(&mut self, other: Self) {
        self.events = self.events.saturating_add(other.events);
        self.ids_sum.add(other.ids_sum);
    }

    /// The events of this tally without those of another that it holds.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            ids_sum: self.ids_sum.without(other.ids_sum),
        }
    }
}

/// What became of all events up to a cursor: acknowledged by the gate, or set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoneTally {
    /// Events that the gate acknowledged.
    pub acknowledged: IdTally,
    /// Events that were set aside durably.
    pub quarantined: IdTally,
}

impl DoneTally {
    /// Adds what became of other events.
    pub fn add(&mut self, other: Self) {
        self.acknowledged.add(other.acknowledged);
        self.quarantined.add(other.quarantined);
    }

    /// All events, whatever became of them.
    pub fn all(self) -> IdTally {
        let mut all = self.acknowledged;
        all.add(self.quarantined);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, last: u8) -> [u8; 32] {
        let mut id = [0; 32];
        (id[0], id[31]) = (first, last);
        id
    }

    #[test]
    fn ids_are_added_as_big_endian_integers_modulo_2_to_the_256() {
        let mut sum = IdsSum::of(&[0xff; 32]);
        sum.add(IdsSum::of(&id(0, 2)));
        assert_eq!(sum.to_string(), format!("{}01", "0".repeat(62)));
        let mut carried = IdsSum::of(&{
            let mut id = [0; 32];
            id[24..].fill(0xff);
            id
        });
        carried.add(IdsSum::of(&id(0, 1)));
        assert_eq!(
            carried.to_string(),
            format!("{}1{}", "0".repeat(47), "0".repeat(16))
        );
        assert_eq!(
            IdsSum::of(&id(0xab, 0xcd)).to_string(),
            format!("ab{}cd", "0".repeat(60))
        );
    }

    #[test]
    fn a_sum_is_the_same_in_any_order_and_can_be_taken_apart() {
        let ids: Vec<[u8; 32]> = (0..50_u8).map(|n| [n.wrapping_mul(37); 32]).collect();
        let (mut forth, mut back, mut half) =
            (IdTally::default(), IdTally::default(), IdTally::default());
        for (place, id) in ids.iter().enumerate() {
            forth.count(id);
            back.count(&ids[ids.len() - 1 - place]);
            if place < 25 {
                half.count(id);
            }
        }
        assert_eq!(forth, back);
        let mut whole = forth.without(half);
        whole.add(half);
        assert_eq!(whole, forth);
    }

    #[test]
    fn the_text_of_a_sum_is_read_back() {
        let sum = IdsSum::of(&[0x9a; 32]);
        assert_eq!(IdsSum::parse(&sum.to_string()), Some(sum));
        for wrong in ["", "9a", &"9A".repeat(32), &"9a".repeat(33)] {
            assert_eq!(IdsSum::parse(wrong), None, "{wrong}");
        }
    }
}

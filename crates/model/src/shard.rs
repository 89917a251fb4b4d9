//! Shards: which events of a world one of several producers sends.
//!
//! | by | an event is of shard K of N where |
//! |---|---|
//! | `key` | the low 32 bits of its key hash, modulo N, are K |
//! | `event_id` | the first 8 bytes of the sha256 of its id, big endian, modulo N, are K |
//!
//! By key all events of one ordering key are in one shard, over all outputs with that key, and so
//! in order. By event id they are the platform's lanes, which know no order of keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The version of the key hash (XXH3-64): another one is another division into shards.
pub const KEY_HASH_VERSION: u32 = 1;

/// What decides which shard an event is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardBy {
    /// The hash of the event's ordering key.
    #[default]
    Key,
    /// The hash of the event's id, as the platform's lanes take it.
    EventId,
}

impl ShardBy {
    /// The name in profiles and reports: `key` or `event_id`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::EventId => "event_id",
        }
    }
}

impl fmt::Display for ShardBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ShardBy {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        match text {
            "key" => Ok(Self::Key),
            "event_id" => Ok(Self::EventId),
            _ => Err(InvalidShard(format!(
                "events are sharded by `key` or `event_id`, not by {text:?}"
            ))),
        }
    }
}

/// One of the shards that a stream is divided into. Its text is `K/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Shard {
    index: u32,
    count: u32,
    by: ShardBy,
}

impl Shard {
    /// The most shards that a stream is divided into.
    pub const MOST: u32 = 65_536;

    /// The whole stream: shard 0 of 1.
    pub const WHOLE: Self = Self {
        index: 0,
        count: 1,
        by: ShardBy::Key,
    };

    /// Shard `index` of `count`.
    ///
    /// # Errors
    /// [`InvalidShard`] unless `index < count`, and `count` is 1 to [`Shard::MOST`].
    pub fn new(index: u32, count: u32, by: ShardBy) -> Result<Self, InvalidShard> {
        if !(1..=Self::MOST).contains(&count) {
            let most = Self::MOST;
            return Err(InvalidShard(format!(
                "a stream has 1 to {most} shards, not {count}"
            )));
        }
        if index >= count {
            return Err(InvalidShard(format!(
                "there is no shard {index} of {count}: shards count from 0 to {}",
                count - 1
            )));
        }
        Ok(Self { index, count, by })
    }

    /// The shard that a text `K/N` names.
    ///
    /// # Errors
    /// As [`Shard::new`], and for any other text.
    pub fn parse(text: &str, by: ShardBy) -> Result<Self, InvalidShard> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| is_plain)
        };
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(index, count)| number(index).zip(number(count)));
        let Some((index, count)) = numbers else {
            return Err(InvalidShard(format!(
                "a shard is named K/N, like 0/4, and not {text:?}"
            )));
        };
        Self::new(index, count, by)
    }

    /// The number of the shard, from 0.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The number of shards of the stream.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The version of the key hash (XXH3-64): another one is another division into shards.
    pub const KEY_HASH_VERSION: u32 = 1;

    /// What decides which shard an event is of.
    pub const fn by(self) -> ShardBy {
        self.by
    }

    /// Whether the shard is the whole stream.
    pub const fn is_whole(self) -> bool {
        self.count == 1
    }

    /// The folder of the shard's own records within that of its platform run's: `wsp`, or
    /// `wsp/shard-K-of-N`.
    pub fn folder(self) -> String {
        if self.is_whole() {
            return "wsp".to_owned();
        }
        format!("wsp/shard-{}-of-{}", self.index, self.count)
    }

    /// The shard whose [`Shard::folder`] has this name within `wsp`; `None` for any other name.
    pub fn of_folder(name: &str) -> Option<Self> {
        let (index, count) = name.strip_prefix("shard-")?.split_once("-of-")?;
        let shard = Self::parse(&format!("{index}/{count}"), ShardBy::Key).ok()?;
        // Only the one spelling that a shard writes: no zero before a number.
        (!shard.is_whole() && shard.folder().strip_prefix("wsp/") == Some(name)).then_some(shard)
    }

    /// Whether an event with this number is of the shard: the low half of its key hash, or the hash of its id.
    pub fn takes(self, number: u64) -> bool {
        number % u64::from(self.count) == u64::from(self.index)
    }

    /// The number of an event that decides its shard by key: the low half of its key hash.
    pub const fn number_of_key(key_hash: u64) -> u64 {
        key_hash & 0xffff_ffff
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// Why there is no such shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidShard(String);

impl fmt::Display for InvalidShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidShard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_the_shard_whose_records_it_has() {
        let shard = Shard::new(2, 8, ShardBy::EventId).unwrap();
        assert_eq!(shard.folder(), "wsp/shard-2-of-8");
        let named = Shard::of_folder("shard-2-of-8").unwrap();
        assert_eq!((named.index(), named.count()), (2, 8));
        for other in ["shard-8-of-8", "shard-02-of-8", "shard-0-of-1", "reports"] {
            assert_eq!(Shard::of_folder(other), None, "{other}");
        }
    }

    #[test]
    fn a_shard_is_below_the_number_of_shards() {
        assert!(Shard::new(3, 4, ShardBy::Key).is_ok());
        for (index, count) in [(4, 4), (0, 0), (0, Shard::MOST + 1)] {
            assert!(
                Shard::new(index, count, ShardBy::Key).is_err(),
                "{index}/{count}"
            );
        }
    }

    #[test]
    fn a_shard_is_named_by_two_plain_numbers() {
        let shard = Shard::parse("2/7", ShardBy::EventId).unwrap();
        assert_eq!((shard.index(), shard.count()), (2, 7));
        assert_eq!(shard.to_string(), "2/7");
        for wrong in [
            "",
            "1",
            "4/4",
            "-1/4",
            "+1/4",
            "1/4/8",
            "1/ 4",
            "a/b",
            "1/99999999999",
        ] {
            assert!(Shard::parse(wrong, ShardBy::Key).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_number_is_taken_by_one_shard() {
        for count in 1..=9 {
            for number in 0..1_000_u64 {
                let takers = (0..count).filter(|&index| {
                    Shard::new(index, count, ShardBy::Key)
                        .unwrap()
                        .takes(number)
                });
                assert_eq!(takers.count(), 1, "{number} of {count}");
            }
        }
    }

    #[test]
    fn only_the_low_half_of_a_key_hash_decides_its_shard() {
        let low = Shard::number_of_key(0x0000_0001_0000_0005);
        assert_eq!(low, Shard::number_of_key(0xffff_ffff_0000_0005));
        assert_eq!(low, 5);
    }
}

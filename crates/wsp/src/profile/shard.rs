//! `wiring.wsp_shard`, `--shard` and the platform's lanes: which events this process streams.

use std::time::Duration;

use model::{InvalidShard, Shard, ShardBy};

use super::blocks::{AtLeastOne, ShardBlock};
use super::places::shown;
use crate::{Error, ReasonCode};

/// The longest difference to the store's clock that a paced shard starts with, in milliseconds.
const MAX_CLOCK_SKEW_MS: u64 = 100;

/// The division of the stream into shards, and the shard of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardSettings {
    /// The shard of this process; `None` where its variable is not set: what streams needs it, what
    /// looks at all shards does not.
    pub index: Option<u32>,
    /// The number of shards; 1 by default, which is the whole stream.
    pub count: u32,
    /// What decides which shard an event is of; the ordering key by default.
    pub by: ShardBy,
    /// The most by which the clock may differ from the checkpoint store's at the start of a paced
    /// shard; 100 ms by default.
    pub max_clock_skew: Duration,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            index: None,
            count: 1,
            by: ShardBy::Key,
            max_clock_skew: Duration::from_millis(MAX_CLOCK_SKEW_MS),
        }
    }
}

impl ShardSettings {
    /// The settings of the profile's block.
    ///
    /// # Errors
    /// `SHARD_INVALID`.
    pub(super) fn new(block: &ShardBlock) -> Result<Self, Error> {
        let number = |key: &str, text: Option<&String>| {
            let Some(text) = text.map(|text| text.trim()).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            text.parse::<u32>().map(Some).map_err(|_| {
                let what = format!(
                    "`wiring.wsp_shard.{key}` is {}, no whole number",
                    shown(text)
                );
                invalid(what)
            })
        };
        let index = number("index", block.index.as_ref())?;
        let settings = Self {
            index,
            count: number("count", block.count.as_ref())?.unwrap_or(1),
            by: block.by.unwrap_or_default(),
            max_clock_skew: Duration::from_millis(AtLeastOne::or(
                block.max_clock_skew_ms,
                MAX_CLOCK_SKEW_MS,
            )),
        };
        settings.shard_of(index.unwrap_or(0))?;
        Ok(settings)
    }

    /// The shard that `--shard` names, sharded as the profile says.
    ///
    /// # Errors
    /// `SHARD_INVALID`.
    pub(super) fn named(self, text: &str) -> Result<Self, Error> {
        let shard = Shard::parse(text, self.by).map_err(|fault| of_flag(&fault))?;
        Ok(Self {
            index: Some(shard.index()),
            count: shard.count(),
            ..self
        })
    }

    /// One of the platform's lanes.
    ///
    /// # Errors
    /// `SHARD_INVALID`.
    pub(super) fn of_lane(self, index: u32, count: u32) -> Result<Self, Error> {
        let lane = Self {
            index: Some(index),
            count,
            by: ShardBy::EventId,
            ..self
        };
        lane.shard_of(index)?;
        Ok(lane)
    }

    /// The shard of this process.
    ///
    /// # Errors
    /// `SHARD_INVALID` where there are several and none is named.
    pub fn shard(&self) -> Result<Shard, Error> {
        match self.index {
            Some(index) => self.shard_of(index),
            None if self.count == 1 => self.shard_of(0),
            None => Err(invalid(format!(
                "The stream has {} shards, and none is named",
                self.count
            ))),
        }
    }

    /// One of the shards.
    ///
    /// # Errors
    /// `SHARD_INVALID`.
    pub fn shard_of(&self, index: u32) -> Result<Shard, Error> {
        Shard::new(index, self.count, self.by).map_err(|fault| invalid(sentence(&fault)))
    }
}

fn of_flag(fault: &InvalidShard) -> Error {
    invalid(format!("--shard is unusable: {fault}"))
}

fn sentence(fault: &InvalidShard) -> String {
    format!("`wiring.wsp_shard` is unusable: {fault}")
}

fn invalid(what: String) -> Error {
    Error::new(
        ReasonCode::ShardInvalid,
        what,
        "Name it with --shard K/N, or set `wsp_shard.index` (0 to count - 1) and `wsp_shard.count`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(index: Option<&str>, count: Option<&str>) -> ShardBlock {
        ShardBlock {
            index: index.map(str::to_owned),
            count: count.map(str::to_owned),
            ..ShardBlock::default()
        }
    }

    #[test]
    fn a_shard_that_is_not_below_the_count_is_refused() {
        for (index, count) in [
            (Some("4"), Some("4")),
            (Some("1"), None),
            (None, Some("0")),
            (Some("-1"), Some("4")),
            (Some("one"), Some("4")),
        ] {
            let error = ShardSettings::new(&block(index, count)).unwrap_err();
            assert_eq!(error.code(), "SHARD_INVALID", "{index:?} {count:?}");
        }
    }

    #[test]
    fn only_what_streams_needs_to_know_its_shard() {
        let settings = ShardSettings::new(&block(None, Some("8"))).unwrap();
        assert_eq!(settings.shard().unwrap_err().code(), "SHARD_INVALID");
        assert_eq!(settings.shard_of(7).unwrap().to_string(), "7/8");
        let named = settings.named("2/8").unwrap();
        assert_eq!(named.shard().unwrap().to_string(), "2/8");
        let whole = ShardSettings::new(&block(Some(""), None)).unwrap();
        assert!(whole.shard().unwrap().is_whole());
    }
}

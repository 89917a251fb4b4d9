//! Names as types: each is checked where it is made, and nowhere else.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::hex::{Hex64, PackId};
use crate::shard::Shard;

/// Why a text is no id of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not {expected}")]
pub struct InvalidId {
    expected: &'static str,
}

impl InvalidId {
    /// What an id of this kind looks like, for example "64 lowercase hex digits".
    pub const fn expected(self) -> &'static str {
        self.expected
    }
}

/// The name of one dataset of the engine's catalogue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OutputId(String);

impl OutputId {
    /// Wraps a name, whether a catalogue has such an output or not.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for OutputId {
    fn from(id: T) -> Self {
        Self(id.into())
    }
}

impl Borrow<str> for OutputId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The name of a scenario: 1 to 256 characters that can stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ScenarioId(String);

impl ScenarioId {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidId`] if it is empty, longer than 256 characters, or has a `/` or a control
    /// character, and so could not name one folder.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let fits = (1..=256).contains(&text.chars().count());
        if !fits || text.contains(|c: char| c == '/' || c.is_control()) {
            let expected = "1 to 256 characters without slashes and controls";
            return Err(InvalidId { expected });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ScenarioId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|_| serde::de::Error::custom("not a usable scenario id"))
    }
}

/// A platform run: `platform_`, then a UTC time like `20260128T090000Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PlatformRunId(String);

impl PlatformRunId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PlatformRunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map_err(|_| serde::de::Error::custom("not a platform run id"))
    }
}

impl FromStr for PlatformRunId {
    type Err = InvalidId;

    /// # Errors
    /// [`InvalidId`] if the text does not match `^platform_[0-9]{8}T[0-9]{6}Z$`.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = text.strip_prefix("platform_").is_some_and(|stamp| {
            stamp.len() == 16
                && stamp.bytes().enumerate().all(|(index, byte)| match index {
                    8 => byte == b'T',
                    15 => byte == b'Z',
                    _ => byte.is_ascii_digit(),
                })
        });
        if !fits {
            let expected = "like platform_20260128T090000Z";
            return Err(InvalidId { expected });
        }
        Ok(Self(text.to_owned()))
    }
}

/// 64 lowercase hex digits that name one world's cursors, or those of one world within one
/// platform run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackKey(Hex64);

impl PackKey {
    /// Parses a pack id, or a key that was made before.
    ///
    /// # Errors
    /// [`InvalidId`] unless it is 64 lowercase hex digits.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let expected = "64 lowercase hex digits";
        let digits = Hex64::parse(text).ok_or(InvalidId { expected })?;
        Ok(Self(digits))
    }

    /// The key of a world without a pack id: sha256 of its engine run root, the string as
    /// resolved (not canonicalised), a trailing `/` stripped.
    pub fn of_root(engine_run_root: &str) -> Self {
        Self(Hex64::sha256_of(engine_run_root.trim_end_matches('/')))
    }

    /// The key under `scope: platform_run`: sha256 of `pack_key|platform_run_id`.
    #[must_use]
    pub fn scoped_to_run(&self, run: &PlatformRunId) -> Self {
        Self(Hex64::sha256_of(format!("{self}|{run}")))
    }

    /// The key under `scope: scenario_run`, which is that of the platform's newest producer:
    /// sha256 of `pack_key|platform_run_id|scenario_run_id|lane_count|lane_index|attempt_id`.
    #[must_use]
    pub fn scoped_to_scenario_run(&self, scenario_run: &ScenarioRunKey<'_>) -> Self {
        let ScenarioRunKey {
            platform_run_id,
            scenario_run_id,
            lane_count,
            lane_index,
            attempt_id,
        } = scenario_run;
        let text = format!(
            "{self}|{platform_run_id}|{scenario_run_id}|{lane_count}|{lane_index}|{attempt_id}"
        );
        Self(Hex64::sha256_of(text))
    }

    /// The key of a shard's cursors: sha256 of `<key>|shard K/N`; of the whole stream the key as it
    /// is.
    #[must_use]
    pub fn scoped_to_shard(&self, shard: Shard) -> Self {
        if shard.is_whole() {
            return self.clone();
        }
        Self(Hex64::sha256_of(format!("{self}|shard {shard}")))
    }

    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What the platform's newest producer keys its cursors by, beside the pack.
#[derive(Debug, Clone, Copy)]
pub struct ScenarioRunKey<'a> {
    /// The platform run.
    pub platform_run_id: &'a PlatformRunId,
    /// The scenario run; the engine run's id where none is named.
    pub scenario_run_id: &'a str,
    /// The number of lanes of the fleet; 1 for a producer of all events.
    pub lane_count: u32,
    /// The producer's lane, from 0.
    pub lane_index: u32,
    /// `WSP_CHECKPOINT_ATTEMPT_ID`; empty where it is not set.
    pub attempt_id: &'a str,
}

impl From<&PackId> for PackKey {
    fn from(id: &PackId) -> Self {
        Self(id.digest())
    }
}

macro_rules! displayed_as_text {
    ($($id:ty),+) => { $(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    )+ };
}

displayed_as_text!(OutputId, ScenarioId, PlatformRunId, PackKey);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

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
        for root in ["runs/local_full_run-5/abc", "runs/local_full_run-5/abc/"] {
            assert_eq!(PackKey::of_root(root).as_str(), golden);
        }
    }

    #[test]
    fn a_scoped_key_differs_by_platform_run() {
        let pack = PackKey::of_root("r");
        let run = |id: &str| id.parse::<PlatformRunId>().unwrap();
        let one = pack.scoped_to_run(&run("platform_20260128T090000Z"));
        let text = format!("{pack}|platform_20260128T090000Z");
        assert_eq!(one.as_str(), Hex64::sha256_of(text).as_str());
        assert_ne!(one, pack.scoped_to_run(&run("platform_20260129T090000Z")));
    }

    /// The digest is that of a cursor which the platform's newest producer wrote.
    #[test]
    fn a_key_of_a_scenario_run_is_that_of_the_newest_producer() {
        let run = "platform_20260128T090000Z".parse().unwrap();
        let key = PackKey::of_root("views").scoped_to_scenario_run(&ScenarioRunKey {
            platform_run_id: &run,
            scenario_run_id: "7510240d8c0d036d829c804b3832827f",
            lane_count: 1,
            lane_index: 0,
            attempt_id: "",
        });
        let expected = "6e137aac13dfa899f99cee395a0aa255aeb9cd1f19c55590c3094a552b931925";
        assert_eq!(key.as_str(), expected);
    }

    #[test]
    fn the_key_of_a_shard_is_the_plain_one_only_where_the_shard_is_the_whole() {
        let key = PackKey::of_root("views");
        let shard = Shard::parse("2/8", crate::ShardBy::Key).unwrap();
        let expected = Hex64::sha256_of(format!("{}|shard 2/8", key.as_str()));
        assert_eq!(key.scoped_to_shard(shard).as_str(), expected.as_str());
        assert_eq!(key.scoped_to_shard(Shard::WHOLE), key);
    }

    #[test]
    fn a_scenario_can_name_a_folder() {
        assert_eq!(
            ScenarioId::parse("base line").unwrap().as_str(),
            "base line"
        );
        for wrong in ["", "a/b", "a\u{7}b", &"é".repeat(257)] {
            assert!(ScenarioId::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(ScenarioId::parse(&"é".repeat(256)).is_ok());
    }

    #[test]
    fn a_platform_run_is_a_second_in_utc() {
        assert!("platform_20260128T090000Z".parse::<PlatformRunId>().is_ok());
        for wrong in [
            "",
            "platform_20260128T090000",
            "platform_20260128 090000Z",
            "platform_2026-128T090000Z",
            "run_20260128T090000Z",
        ] {
            assert!(wrong.parse::<PlatformRunId>().is_err(), "{wrong}");
        }
    }
}

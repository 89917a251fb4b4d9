//! Event time: read from text or a timestamp, kept in whole nanoseconds, written with micros.
//!
//! Text is RFC 3339 with some of its optional parts: a date, `T` or a space, a time of day with
//! seconds, 1 to 9 fractional digits or none, and `Z`, an offset or nothing (UTC). Offsets are
//! `+HH:MM`, `+HHMM` or `+HH`. A leap second and a tenth fractional digit are unreadable, because
//! the nanoseconds that order events could not hold them.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use crate::calendar::{self, Date};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// An instant in UTC, in nanoseconds since 1970-01-01, within the years 0000 to 9999.
///
/// Its `Display` is the form of the envelope, `2026-01-28T08:55:40.100195Z`: exactly six fractional
/// digits, finer ones cut off. Ordering and cursors use [`EventTime::nanos`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i128);

impl EventTime {
    /// The length of [`EventTime::text`], in bytes.
    pub const TEXT_LEN: usize = 27;

    /// The instant that is `nanos` after 1970-01-01, or `None` outside the years 0000 to 9999.
    pub const fn from_nanos(nanos: i128) -> Option<Self> {
        const NANOS_PER_DAY: i128 = SECONDS_PER_DAY as i128 * NANOS_PER_SECOND as i128;
        const FIRST: i128 = *calendar::DAYS.start() as i128 * NANOS_PER_DAY;
        const END: i128 = (*calendar::DAYS.end() as i128 + 1) * NANOS_PER_DAY;
        if nanos >= FIRST && nanos < END {
            Some(Self(nanos))
        } else {
            None
        }
    }

    /// 1970-01-01 UTC.
    pub const EPOCH: Self = Self(0);

    /// The instant of a clock's wall time, or `None` outside the years 0000 to 9999.
    pub fn of_wall(time: SystemTime) -> Option<Self> {
        let nanos = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => since.as_nanos() as i128,
            Err(before) => -(before.duration().as_nanos() as i128),
        };
        Self::from_nanos(nanos)
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// The same instant, without what is finer than a microsecond: the time that an envelope
    /// writes.
    #[must_use]
    pub const fn in_whole_micros(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1_000))
    }

    /// Reads the text of an event time.
    ///
    /// # Errors
    /// [`UnreadableTime`] says what is wrong with the text.
    #[inline]
    pub fn parse(text: &str) -> Result<Self, UnreadableTime> {
        let Some((&date_time, rest)) = text.as_bytes().split_first_chunk::<19>() else {
            return Err(UnreadableTime("it is shorter than YYYY-MM-DDTHH:MM:SS"));
        };
        let seconds = seconds_of(&date_time)?;
        let (nanos, zone) = fraction_of(rest)?;
        let utc_seconds = seconds - offset_seconds_of(zone)?;
        let nanos = i128::from(utc_seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
        Self::from_nanos(nanos).ok_or(UnreadableTime("it is outside the years 0000 to 9999"))
    }

    /// The time as an envelope writes it, for example `2026-01-28T08:55:40.100195Z`.
    #[inline]
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        // Almost every time fits 64 bits, where division is several times faster.
        let (seconds, nanos) = if let Ok(nanos) = i64::try_from(self.0) {
            (
                nanos.div_euclid(NANOS_PER_SECOND),
                nanos.rem_euclid(NANOS_PER_SECOND),
            )
        } else {
            let second = i128::from(NANOS_PER_SECOND);
            (
                self.0.div_euclid(second) as i64,
                self.0.rem_euclid(second) as i64,
            )
        };
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let (date, clock) = calendar::date_and_clock(seconds);
        text[0..10].copy_from_slice(&date);
        text[11..19].copy_from_slice(&clock);
        text[20..26].copy_from_slice(&calendar::digits::<6>(nanos as u32 / 1_000));
        text
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl serde::Serialize for EventTime {
    /// The text of the envelope's form, as [`Display`](fmt::Display) writes it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for EventTime {
    /// From any text that [`EventTime::parse`] reads.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl FromStr for EventTime {
    type Err = UnreadableTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Why a text is no event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableTime(&'static str);

impl UnreadableTime {
    /// What is wrong with the text, for example "it is shorter than YYYY-MM-DDTHH:MM:SS".
    pub const fn why(self) -> &'static str {
        self.0
    }
}

/// Seconds since 1970-01-01 of `YYYY-MM-DDTHH:MM:SS`.
fn seconds_of(text: &[u8; 19]) -> Result<i64, UnreadableTime> {
    let punctuated = text[4] == b'-'
        && text[7] == b'-'
        && matches!(text[10], b'T' | b't' | b' ')
        && text[13] == b':'
        && text[16] == b':';
    // Looked at together: one branch instead of fourteen.
    let mut digits_only = true;
    let mut two = |at: usize| {
        let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
        digits_only &= tens < 10 && ones < 10;
        u32::from(tens) * 10 + u32::from(ones)
    };
    let date = Date {
        year: two(0) * 100 + two(2),
        month: two(5),
        day: two(8),
    };
    let (hour, minute, second) = (two(11), two(14), two(17));
    if !punctuated || !digits_only {
        return Err(UnreadableTime("it does not begin like YYYY-MM-DDTHH:MM:SS"));
    }
    let days = date.days().ok_or(UnreadableTime("there is no such date"))?;
    if second == 60 {
        return Err(UnreadableTime("leap seconds cannot be ordered"));
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(UnreadableTime("there is no such time of day"));
    }
    Ok(days * SECONDS_PER_DAY + i64::from(hour * 3_600 + minute * 60 + second))
}

/// The fraction of a second in nanoseconds, and what follows it.
fn fraction_of(text: &[u8]) -> Result<(u32, &[u8]), UnreadableTime> {
    let Some((b'.', text)) = text.split_first() else {
        return Ok((0, text));
    };
    let mut nanos = 0;
    let mut unit = 100_000_000;
    for (length, byte) in text.iter().enumerate() {
        if !byte.is_ascii_digit() {
            return match length {
                0 => Err(UnreadableTime(
                    "there are no digits after the decimal point",
                )),
                _ => Ok((nanos, &text[length..])),
            };
        }
        if unit == 0 {
            return Err(UnreadableTime("it has more than 9 fractional digits"));
        }
        nanos += u32::from(byte - b'0') * unit;
        unit /= 10;
    }
    match text {
        [] => Err(UnreadableTime(
            "there are no digits after the decimal point",
        )),
        _ => Ok((nanos, &[])),
    }
}

/// How far a zone is ahead of UTC, in seconds.
fn offset_seconds_of(zone: &[u8]) -> Result<i64, UnreadableTime> {
    let (sign, h1, h2, m1, m2) = match *zone {
        [] | [b'Z' | b'z'] => return Ok(0),
        [sign @ (b'+' | b'-'), h1, h2] => (sign, h1, h2, b'0', b'0'),
        [sign @ (b'+' | b'-'), h1, h2, m1, m2] | [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            (sign, h1, h2, m1, m2)
        }
        _ => {
            return Err(UnreadableTime(
                "its zone is neither Z nor an offset like +01:00",
            ));
        }
    };
    if ![h1, h2, m1, m2].iter().all(u8::is_ascii_digit) {
        return Err(UnreadableTime(
            "its zone is neither Z nor an offset like +01:00",
        ));
    }
    let two = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
    let (hours, minutes) = (two(h1, h2), two(m1, m2));
    if hours > 23 || minutes > 59 {
        return Err(UnreadableTime("there is no such offset"));
    }
    let seconds = hours * 3_600 + minutes * 60;
    Ok(if sign == b'-' { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chrono::{DateTime, FixedOffset, NaiveDateTime, SecondsFormat, Utc};
    use proptest::prelude::*;

    use super::*;

    fn envelope_form(text: &str) -> String {
        EventTime::parse(text)
            .unwrap_or_else(|fault| panic!("{text}: {fault}"))
            .to_string()
    }

    #[test]
    fn a_wall_time_is_an_instant_within_the_years_0000_to_9999() {
        let day = std::time::Duration::from_hours(24);
        let text = |time| EventTime::of_wall(time).map(|time| time.to_string());
        let epoch = SystemTime::UNIX_EPOCH;
        let micros = std::time::Duration::from_nanos(1_234_567);
        assert_eq!(text(epoch + micros).unwrap(), "1970-01-01T00:00:00.001234Z");
        assert_eq!(text(epoch - micros).unwrap(), "1969-12-31T23:59:59.998765Z");
        assert_eq!(text(epoch + day * 365 * 9_000), None);
    }

    #[test]
    fn readable_forms_become_the_one_envelope_form() {
        for (text, expected) in [
            ("2026-01-28T08:55:40.100195Z", "2026-01-28T08:55:40.100195Z"),
            ("2026-01-28 08:55:40.100195", "2026-01-28T08:55:40.100195Z"),
            ("2026-01-28T08:55:40", "2026-01-28T08:55:40.000000Z"),
            ("2026-01-28t08:55:40z", "2026-01-28T08:55:40.000000Z"),
            ("2026-01-28T08:55:40.1", "2026-01-28T08:55:40.100000Z"),
            (
                "2026-01-28T08:55:40.123456789Z",
                "2026-01-28T08:55:40.123456Z",
            ),
            ("2026-01-28T08:55:40.5+01:30", "2026-01-28T07:25:40.500000Z"),
            ("2026-01-28T08:55:40-0100", "2026-01-28T09:55:40.000000Z"),
            ("2026-01-28 23:30:00-01", "2026-01-29T00:30:00.000000Z"),
            ("2026-01-28T08:55:40-00:00", "2026-01-28T08:55:40.000000Z"),
            (
                "1969-12-31T23:59:59.999999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"),
            (
                "9999-12-31T23:59:59.999999999Z",
                "9999-12-31T23:59:59.999999Z",
            ),
        ] {
            assert_eq!(envelope_form(text), expected, "{text}");
        }
    }

    #[test]
    fn what_nanoseconds_cannot_order_is_unreadable() {
        for text in [
            "",
            "2026-01-28",
            "2026-01-28T08:55",
            "2026-01-28T08:55Z",
            "2026-01-28T08:55:60Z",
            "2026-01-28T24:00:00Z",
            "2026-01-28T08:60:00Z",
            "2026-02-29T08:55:40Z",
            "2026-13-01T08:55:40Z",
            "2026-01-28T08:55:40.Z",
            "2026-01-28T08:55:40.",
            "2026-01-28T08:55:40.1234567890Z",
            "2026-01-28T08:55:40,1Z",
            "2026-01-28T08:55:40 Z",
            "2026-01-28T08:55:40ZZ",
            "2026-01-28T08:55:40+24:00",
            "2026-01-28T08:55:40+01:60",
            "2026-01-28T08:55:40+1:00",
            "2026-01-28T08:55:40 UTC",
            " 2026-01-28T08:55:40Z",
            "2026-01-28_08:55:40Z",
            "2026-01-2８T08:55:40Z",
            "+2026-01-28T08:55:40Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert!(EventTime::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digits_beyond_micros_still_order_events() {
        let earlier = EventTime::parse("2026-01-28T08:55:40.100195001Z").unwrap();
        let later = EventTime::parse("2026-01-28T08:55:40.100195002Z").unwrap();
        assert_eq!(later.nanos() - earlier.nanos(), 1);
        assert_eq!(earlier.to_string(), later.to_string());
    }

    fn nanos_of(reference: DateTime<Utc>) -> i128 {
        i128::from(reference.timestamp()) * 1_000_000_000
            + i128::from(reference.timestamp_subsec_nanos())
    }

    proptest! {
        #[test]
        fn every_written_time_reads_as_chrono_reads_it(
            seconds in -62_167_219_200_i64..253_402_300_800,
            nanos in 0_u32..1_000_000_000,
            offset in -86_340_i32..=86_340,
            digits in 0_usize..4,
            separator in "[Tt ]",
        ) {
            let offset = FixedOffset::east_opt(offset / 60 * 60).unwrap();
            let instant = DateTime::<Utc>::from_timestamp(seconds, nanos).unwrap();
            let format = [
                SecondsFormat::Secs, SecondsFormat::Millis, SecondsFormat::Micros,
                SecondsFormat::Nanos,
            ][digits];
            let text = instant.with_timezone(&offset).to_rfc3339_opts(format, true);
            // Near the ends of the range an offset may lead out of the four-digit years.
            prop_assume!(text.as_bytes()[4] == b'-' && text.as_bytes()[0].is_ascii_digit());
            let text = text.replacen('T', &separator, 1);
            let reference: DateTime<Utc> = DateTime::parse_from_rfc3339(&text).unwrap().into();

            let time = EventTime::parse(&text).unwrap();
            prop_assert_eq!(time.nanos(), nanos_of(reference));
            prop_assert_eq!(time.to_string(), reference.to_rfc3339_opts(SecondsFormat::Micros, true));
        }

        #[test]
        fn text_without_zone_is_utc(seconds in -62_167_219_200_i64..253_402_300_800) {
            let text = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc().to_string();
            let reference = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S").unwrap();
            let time = EventTime::parse(&text).unwrap();
            prop_assert_eq!(time.nanos(), nanos_of(reference.and_utc()));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", cut in 0_usize..40) {
            let _ = EventTime::parse(&text);
            let nearly = "2026-01-28T08:55:40.100195+01:00";
            let (head, tail) = nearly.split_at(cut.min(nearly.len()));
            let _ = EventTime::parse(&format!("{head}{text}{tail}"));
        }
    }
}

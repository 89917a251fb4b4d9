//! A histogram as text, in the form that tools of HdrHistogram read.
//!
//! The text is base64 of the V2 encoding, compressed: what stands in the column
//! `Interval_Compressed_Histogram` of an HdrHistogram log. Values are microseconds, from 1 µs to a
//! day, to three significant digits.
//!
//! ```text
//! 1c849314 length zlib(…)             compressed
//!   1c849313 length 0 digits          plain: 4 bytes each, the highest first,
//!   lowest highest 1.0                8 bytes each,
//!   counts                            a zigzag number of at most 9 bytes each, in the order of
//!                                     values; a negative one stands for so many zeros
//! ```
//!
//! It is read and written here, since what the library does for it brings crates along, and
//! allocates as much as a text asks for.

use std::io::{self, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::keep::lateness::{Percentiles, empty_histogram};

/// What the compressed encoding begins with; its length follows in four bytes.
const COMPRESSED: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// What the plain encoding begins with.
const PLAIN: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
/// Bytes of the plain encoding before its counts.
const HEADER: usize = 40;
/// More bytes of counts than a histogram of ours has: 28 thousand counts of at most 9 bytes.
const MOST_BYTES: u64 = 256 << 10;
/// Values below this have a count of their own, by three digits.
const EXACT: u64 = 2_048;

/// Lateness of all events of a run, for merging with that of others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatenessLogs {
    /// From the due time to the first post; `None` for an unpaced stream.
    pub send: Option<HdrLog>,
    /// From the due time to the whole acknowledgement; `None` for an unpaced stream.
    pub ack: Option<HdrLog>,
}

/// A histogram of lateness as text: base64 of HdrHistogram's compressed V2 encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HdrLog(String);

/// Why a text is no histogram of lateness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no compressed V2 histogram of 1 µs to a day in base64: {0}")]
pub struct UnreadableLog(String);

impl HdrLog {
    /// The text of a histogram; `None` for one without events.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        // Memory takes every byte.
        let encoded = compressed(&plain(histogram)).ok()?;
        Some(Self(STANDARD.encode(encoded)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Counts the events of this log in a histogram of [`HdrLog::histogram`]'s kind, and so merges
    /// those of several runs.
    ///
    /// # Errors
    /// [`UnreadableLog`] for a text that is no log; none is made of such a text.
    pub fn add_to(&self, all: &mut Histogram<u64>) -> Result<(), UnreadableLog> {
        let log = decode(&self.0)?;
        all.add(&log)
            .map_err(|error| UnreadableLog(error.to_string()))
    }

    /// An empty histogram that logs can be added to.
    pub fn histogram() -> Histogram<u64> {
        empty_histogram()
    }
}

impl Percentiles {
    /// The percentiles of a histogram of microseconds; `None` without events.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        crate::keep::lateness::percentiles(histogram)
    }
}

impl From<HdrLog> for String {
    fn from(log: HdrLog) -> Self {
        log.0
    }
}

impl TryFrom<String> for HdrLog {
    type Error = UnreadableLog;

    fn try_from(text: String) -> Result<Self, UnreadableLog> {
        decode(&text)?;
        Ok(Self(text))
    }
}

/// The place of a value among all counts.
fn index_of(value: u64) -> u64 {
    let shift = u64::from((value | (EXACT - 1)).ilog2()) + 1 - u64::from(EXACT.ilog2());
    EXACT / 2 * shift + (value >> shift)
}

/// The smallest value of a place.
fn value_of(index: u64) -> u64 {
    if index < EXACT {
        return index;
    }
    let shift = index / (EXACT / 2) - 1;
    (index - EXACT / 2 * shift) << shift
}

fn plain(histogram: &Histogram<u64>) -> Vec<u8> {
    let (mut counts, mut next) = (Vec::new(), 0);
    for recorded in histogram.iter_recorded() {
        let index = index_of(recorded.value_iterated_to());
        if index > next {
            write_number(&mut counts, -((index - next) as i64));
        }
        let count = i64::try_from(recorded.count_at_value()).unwrap_or(i64::MAX);
        write_number(&mut counts, count);
        next = index + 1;
    }
    let mut plain = Vec::with_capacity(HEADER + counts.len());
    plain.extend(PLAIN);
    plain.extend((counts.len() as u32).to_be_bytes());
    plain.extend(0_u32.to_be_bytes());
    plain.extend(u32::from(histogram.sigfig()).to_be_bytes());
    plain.extend(histogram.low().to_be_bytes());
    plain.extend(histogram.high().to_be_bytes());
    plain.extend(1.0_f64.to_be_bytes());
    plain.extend(counts);
    plain
}

fn compressed(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packing = ZlibEncoder::new(Vec::new(), Compression::default());
    packing.write_all(plain)?;
    let packed = packing.finish()?;
    let length = (packed.len() as u32).to_be_bytes();
    Ok([&COMPRESSED[..], &length, &packed].concat())
}

/// Reads a log, and allocates no more than a histogram of ours takes, whatever it says.
fn decode(text: &str) -> Result<Histogram<u64>, UnreadableLog> {
    if text.len() as u64 > 2 * MOST_BYTES {
        return Err(UnreadableLog("it is too long".to_owned()));
    }
    let bytes = STANDARD.decode(text);
    let bytes = bytes.map_err(|error| UnreadableLog(error.to_string()))?;
    let behind = bytes.strip_prefix(&COMPRESSED);
    let parts = behind.and_then(|behind| behind.split_first_chunk::<4>());
    let (length, packed) =
        parts.ok_or_else(|| UnreadableLog("it begins with something else".to_owned()))?;
    if u32::from_be_bytes(*length) as usize != packed.len() {
        return Err(UnreadableLog("it is not as long as it says".to_owned()));
    }
    let mut plain = Vec::new();
    ZlibDecoder::new(packed)
        .take(MOST_BYTES + 1)
        .read_to_end(&mut plain)
        .map_err(|error| UnreadableLog(error.to_string()))?;
    let counts = counts_of(&plain).and_then(histogram_of);
    counts.map_err(|why| UnreadableLog(why.to_owned()))
}

/// The counts of a plain encoding, if it is of our bounds and as long as it says.
fn counts_of(plain: &[u8]) -> Result<&[u8], &'static str> {
    let (header, counts) = plain.split_at_checked(HEADER).ok_or("it is cut off")?;
    let empty = empty_histogram();
    let mut ours = self::plain(&empty);
    ours[4..8].copy_from_slice(&(counts.len() as u32).to_be_bytes());
    if header[..4] != ours[..4] {
        return Err("it holds something else");
    }
    if counts.len() as u64 > MOST_BYTES || header[4..8] != ours[4..8] {
        return Err("its length is another");
    }
    if header != ours {
        return Err("its digits or bounds are others");
    }
    Ok(counts)
}

fn histogram_of(mut counts: &[u8]) -> Result<Histogram<u64>, &'static str> {
    let mut histogram = empty_histogram();
    let last = index_of(histogram.high());
    let mut index = 0_u64;
    while !counts.is_empty() {
        let number = read_number(&mut counts).ok_or("a count is cut off")?;
        if number < 0 {
            index = index.saturating_add(number.unsigned_abs());
            continue;
        }
        if index > last {
            return Err("it has more counts than values");
        }
        histogram.saturating_record_n(value_of(index), number.unsigned_abs());
        index += 1;
    }
    Ok(histogram)
}

/// Zigzag, then seven bits a byte with the lowest first, the highest bit saying that more follow;
/// the ninth byte has eight bits.
fn write_number(to: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    for _ in 0..8 {
        if rest <= 0x7f {
            to.push(rest as u8);
            return;
        }
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

fn read_number(from: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for place in 0..9 {
        let (byte, behind) = from.split_first()?;
        *from = behind;
        if place == 8 {
            number |= u64::from(*byte) << 56;
            break;
        }
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(values: &[u64]) -> HdrLog {
        let mut histogram = empty_histogram();
        for value in values {
            histogram.saturating_record(*value);
        }
        HdrLog::of(&histogram).unwrap()
    }

    #[test]
    fn logs_of_several_runs_are_added_without_losing_a_digit() {
        let (mut all, mut apart) = (empty_histogram(), HdrLog::histogram());
        for run in 1..=3_u64 {
            let values: Vec<u64> = (1..1_000).map(|value| value * value * run).collect();
            for value in &values {
                all.saturating_record(*value);
            }
            log(&values).add_to(&mut apart).unwrap();
        }
        assert!(all == apart);
        assert_eq!(Percentiles::of(&all), Percentiles::of(&apart));
    }

    #[test]
    fn a_histogram_without_events_has_no_log() {
        assert_eq!(HdrLog::of(&empty_histogram()), None);
    }

    #[test]
    fn the_fullest_histogram_is_written_and_read() {
        let mut full = empty_histogram();
        let mut value = 1;
        while value < 86_400_000_000 {
            full.saturating_record_n(value, u64::from(u32::MAX));
            value = full.next_non_equivalent(value);
        }
        let mut read = HdrLog::histogram();
        HdrLog::of(&full).unwrap().add_to(&mut read).unwrap();
        assert!(read == full);
    }

    #[test]
    fn a_log_of_other_bounds_or_of_a_lying_length_is_refused() {
        let read = |text: String| HdrLog::try_from(text);
        let mut other = Histogram::<u64>::new_with_bounds(1, 1_000, 3).unwrap();
        other.saturating_record(7);
        let refused = |bytes: &[u8]| {
            let text = STANDARD.encode(compressed(bytes).unwrap());
            read(text).unwrap_err().to_string()
        };
        let mut bytes = plain(&other);
        assert!(refused(&bytes).contains("bounds are others"));
        bytes.push(0);
        assert!(refused(&bytes).contains("length is another"));
        assert!(refused(&bytes[..HEADER - 1]).contains("cut off"));
        let zeros = vec![0; 3 << 20];
        assert!(refused(&[&bytes[..HEADER], &zeros].concat()).contains("length is another"));
        let mut many = plain(&empty_histogram());
        let counts: Vec<u8> = std::iter::repeat_n(2, 30_000).collect();
        many[4..8].copy_from_slice(&30_000_u32.to_be_bytes());
        assert!(refused(&[many, counts].concat()).contains("more counts than values"));
        for text in ["", "HISTFA", "no base64!", "AAAAAAAAAAAA"] {
            assert!(read(text.to_owned()).is_err(), "{text}");
        }
        assert!(read("A".repeat(1 << 20)).is_err());
    }

    #[test]
    fn places_are_those_of_the_library() {
        let mut histogram = empty_histogram();
        let mut value = 1;
        let mut index = 1;
        while value < 86_400_000_000 {
            assert_eq!((index_of(value), value_of(index)), (index, value));
            assert_eq!(index_of(histogram.highest_equivalent(value)), index);
            histogram.saturating_record(value);
            value = histogram.next_non_equivalent(value);
            index += 1;
        }
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(number in any::<i64>(), shift in 0_u32..64) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number >> shift);
            prop_assert!(bytes.len() <= 9);
            prop_assert_eq!(read_number(&mut bytes.as_slice()), Some(number >> shift));
        }

        #[test]
        fn a_damaged_log_is_refused_or_read_and_never_panics(
            at in 0_usize..200,
            byte in any::<u8>(),
            cut in 0_usize..200,
        ) {
            let mut bytes = STANDARD.decode(log(&[1, 5, 300, 7_000, 9_000_000]).as_str()).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut % 7));
            let _ = HdrLog::try_from(STANDARD.encode(bytes));
        }

        #[test]
        fn a_damaged_encoding_is_refused_or_read_and_never_panics(
            at in HEADER..80_usize,
            byte in any::<u8>(),
        ) {
            let mut histogram = empty_histogram();
            (1..400).for_each(|value| histogram.saturating_record(value * 1_000));
            let mut bytes = plain(&histogram);
            bytes[at] = byte;
            let _ = HdrLog::try_from(STANDARD.encode(compressed(&bytes).unwrap()));
        }
    }
}

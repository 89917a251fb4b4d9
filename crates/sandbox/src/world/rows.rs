//! The rows of a part, built column by column.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow_schema::{ArrowError, SchemaRef, TimeUnit};

use chrono::{DateTime, Utc};

use super::Identity;
use super::options::TimeColumn;
use super::shape::{Column, Shape};
use super::time_text::TimeWriter;
use super::timeline::Timeline;
use crate::mix::{mix_pair, scatter_62};

/// Flows that take turns, and the events of each.
const FLOWS_AT_ONCE: u64 = 64;
const EVENTS_A_FLOW: u64 = 4;
const MERCHANTS: u64 = 1_000;
const AMOUNTS: [f64; 6] = [0.1, 1e-7, 12.5, 1_234_567.89, 3.0, 1.0 / 3.0];
const EVENT_TYPES: [&str; 4] = ["AUTH_REQUEST", "AUTH_RESPONSE", "CLEARING", "REFUND"];
const CAMPAIGNS: [&str; 3] = [
    "T_CARD_TESTING",
    "T_ACCT_TAKEOVER",
    "T_Ünïcode_卡\"\\/\t\u{1}",
];
const ZONES: [&str; 3] = ["Europe/London", "Asia/Tokyo", "America/Sao_Paulo"];

/// Makes the rows of one output.
pub(crate) struct RowSource<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) shape: &'a Shape,
    pub(crate) schema: SchemaRef,
    pub(crate) time: &'a TimeColumn,
    pub(crate) timeline: Timeline,
    pub(crate) salt: u64,
}

const HOUR_NS: i64 = 3_600_000_000_000;

impl RowSource<'_> {
    /// Rows of one part, by their place in the file.
    pub(crate) fn batch(&self, part: usize, rows: Range<u64>) -> Result<RecordBatch, ArrowError> {
        let ranks: Vec<u64> = rows.map(|row| self.timeline.rank(part, row)).collect();
        let columns = self.shape.columns.iter().enumerate();
        let arrays = columns.map(|(place, (_, column))| self.column(place, *column, &ranks));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays.collect())
    }

    fn column(&self, place: usize, column: Column, ranks: &[u64]) -> ArrayRef {
        let salt = mix_pair(self.salt, place as u64);
        let dice = |rank: u64| mix_pair(salt, rank);
        let same = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                text,
                ranks.len(),
            )))
        };
        let int64 = |value: &dyn Fn(u64) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(
                ranks.iter().map(|rank| value(*rank)),
            ))
        };
        let uint64 = |value: &dyn Fn(u64) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(
                ranks.iter().map(|rank| value(*rank)),
            ))
        };
        match column {
            Column::ManifestFingerprint => same(&self.identity.manifest_fingerprint),
            Column::ParameterHash => same(&self.identity.parameter_hash),
            Column::ScenarioId => same(&self.identity.scenario_id),
            Column::RunId => same(&self.identity.run_id),
            Column::Seed => int64(&|_| self.identity.seed as i64),
            Column::SeedUnsigned => uint64(&|_| self.identity.seed),
            Column::Time => self.times(ranks),
            Column::FlowId => int64(&|rank| {
                let block = rank / (FLOWS_AT_ONCE * EVENTS_A_FLOW);
                scatter_62(block * FLOWS_AT_ONCE + rank % FLOWS_AT_ONCE)
            }),
            Column::EventSeq => int64(&|rank| (rank / FLOWS_AT_ONCE % EVENTS_A_FLOW) as i64),
            Column::UniqueId => int64(&scatter_62),
            Column::Serial => int64(&|rank| rank as i64),
            Column::Sequence => int64(&|rank| rank as i64 + 1),
            Column::Bucket => {
                let start = self.timeline.time_ns(0);
                int64(&|rank| (self.timeline.time_ns(rank) - start) / HOUR_NS)
            }
            Column::ZoneKind => same("merchant_zone"),
            Column::LocalTime => {
                let times = ranks.iter().map(|rank| self.timeline.time_ns(*rank));
                let texts = times.map(|time| local_time(time / 1_000));
                Arc::new(StringArray::from_iter_values(texts))
            }
            Column::Merchant => int64(&|rank| scatter_62(dice(rank) % MERCHANTS)),
            Column::MerchantUnsigned => {
                uint64(&|rank| scatter_62(dice(rank) % MERCHANTS) as u64 | 1 << 63)
            }
            Column::Entity => int64(&|rank| (dice(rank) >> 2) as i64),
            Column::Amount => Arc::new(Float64Array::from_iter_values(ranks.iter().map(|rank| {
                let dice = dice(*rank);
                // Mostly prices, now and then a value that is hard to print.
                AMOUNTS
                    .get((dice % 64) as usize)
                    .copied()
                    .unwrap_or((dice >> 45) as f64 / 100.0)
            }))),
            Column::EventType => Arc::new(StringArray::from_iter_values(
                ranks
                    .iter()
                    .map(|rank| EVENT_TYPES[(dice(*rank) % 4) as usize]),
            )),
            Column::Flag => Arc::new(
                ranks
                    .iter()
                    .map(|rank| Some(dice(*rank).is_multiple_of(16)))
                    .collect::<BooleanArray>(),
            ),
            Column::Campaign => Arc::new(
                ranks
                    .iter()
                    .map(|rank| CAMPAIGNS.get((dice(*rank) % 5) as usize).copied())
                    .collect::<StringArray>(),
            ),
            Column::Zone => Arc::new(StringArray::from_iter_values(
                ranks.iter().map(|rank| ZONES[(dice(*rank) % 3) as usize]),
            )),
        }
    }

    fn times(&self, ranks: &[u64]) -> ArrayRef {
        let times = ranks.iter().map(|rank| self.timeline.time_ns(*rank));
        let forms = match self.time {
            TimeColumn::Text(form) => vec![*form],
            TimeColumn::MixedText(forms) => forms.clone(),
            TimeColumn::Timestamp { unit, zone } => {
                return timestamps(times, *unit, zone.as_deref());
            }
        };
        let mut writers: Vec<TimeWriter> = forms.into_iter().map(TimeWriter::new).collect();
        let mut text = String::with_capacity(40);
        let mut column =
            arrow_array::builder::StringBuilder::with_capacity(ranks.len(), ranks.len() * 30);
        for (time_ns, rank) in times.zip(ranks) {
            text.clear();
            let form = (*rank % writers.len() as u64) as usize;
            writers[form].write(time_ns, &mut text);
            column.append_value(&text);
        }
        Arc::new(column.finish())
    }
}

/// A time of so many microseconds since 1970, without a zone.
fn local_time(micros: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

fn timestamps(times: impl Iterator<Item = i64>, unit: TimeUnit, zone: Option<&str>) -> ArrayRef {
    macro_rules! array {
        ($array:ty, $nanos:expr) => {
            Arc::new(
                <$array>::from_iter_values(times.map(|time| time.div_euclid($nanos)))
                    .with_timezone_opt(zone),
            )
        };
    }
    match unit {
        TimeUnit::Second => array!(TimestampSecondArray, 1_000_000_000),
        TimeUnit::Millisecond => array!(TimestampMillisecondArray, 1_000_000),
        TimeUnit::Microsecond => array!(TimestampMicrosecondArray, 1_000),
        TimeUnit::Nanosecond => array!(TimestampNanosecondArray, 1),
    }
}

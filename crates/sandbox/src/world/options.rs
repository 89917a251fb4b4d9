//! What a world should look like.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use crate::mix::mix_pair;

/// A world to build. Two builds with equal options are equal byte for byte.
///
/// ```
/// use sandbox::{OutputOptions, SampleOutput, WorldOptions};
///
/// let million = WorldOptions {
///     outputs: vec![OutputOptions {
///         parts: 4,
///         rows_per_part: 250_000,
///         ..OutputOptions::of(SampleOutput::EventStreamBaseline)
///     }],
///     ..WorldOptions::sample()
/// };
/// assert_eq!(million.rows(), 1_000_000);
/// ```
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The world key's seed, and the seed of every value in the world.
    pub seed: u64,
    /// The scenario: 1 to 256 characters.
    pub scenario_id: String,
    /// The engine release that the pack manifest names.
    pub engine_release: String,
    /// The earliest event time.
    pub start: SystemTime,
    /// The length of event time: every event is earlier than `start + span`.
    pub span: Duration,
    /// The outputs, in policy order.
    pub outputs: Vec<OutputOptions>,
    /// The catalogue and gate map to build against.
    pub contracts: Contracts,
    /// Bytes of filler in every gate's bundle, beyond its few small files.
    pub bundle_filler_bytes: u64,
    /// How far the world is packed: manifest, seal, or neither.
    pub pack: Pack,
    /// Whether a pack gets a contents index too.
    pub contents_index: bool,
    /// Whether every output gets an instance-proof receipt.
    pub instance_proofs: bool,
    /// Threads that write parts; 0 means one a core.
    pub threads: usize,
}

impl WorldOptions {
    /// A small sealed world: the five outputs of the sample traffic, 2 parts of 500
    /// rows each, one hour of event time.
    pub fn sample() -> Self {
        Self {
            seed: 20_260_128,
            scenario_id: "baseline_v1".to_owned(),
            engine_release: "engine-1.4.0".to_owned(),
            // 2026-01-28T08:00:00Z.
            start: SystemTime::UNIX_EPOCH + Duration::from_hours(491_552),
            span: Duration::from_hours(1),
            outputs: SampleOutput::TRAFFIC
                .iter()
                .map(|output| OutputOptions::of(*output))
                .collect(),
            contracts: Contracts::Sample,
            bundle_filler_bytes: 0,
            pack: Pack::Sealed,
            contents_index: true,
            instance_proofs: false,
            threads: 0,
        }
    }

    /// The sample world with every output reshaped to `parts` parts of `rows_per_part`.
    #[must_use]
    pub fn with_shape(mut self, parts: usize, rows_per_part: u64) -> Self {
        for output in &mut self.outputs {
            output.parts = parts;
            output.rows_per_part = rows_per_part;
        }
        self
    }

    /// The sample world with these outputs only.
    #[must_use]
    pub fn with_outputs(mut self, outputs: impl IntoIterator<Item = OutputOptions>) -> Self {
        self.outputs = outputs.into_iter().collect();
        self
    }

    /// The same world with these outputs in no time order, as an engine writes `arrival_events_5B`:
    /// each of their parts spans the whole time, and its rows are shuffled as a whole.
    #[must_use]
    pub fn with_unsorted(mut self, outputs: impl IntoIterator<Item = SampleOutput>) -> Self {
        for unsorted in outputs {
            for output in &mut self.outputs {
                if output.output_id == unsorted.id() {
                    output.overlap = output.parts;
                    output.disorder = Some(Disorder {
                        every_nth_part: 1,
                        window_rows: output.rows_per_part.max(2),
                    });
                }
            }
        }
        self
    }

    pub(crate) fn start_utc(&self) -> DateTime<Utc> {
        self.start.into()
    }

    /// The number of rows of all outputs together.
    pub fn rows(&self) -> u64 {
        self.outputs
            .iter()
            .map(|output| output.parts as u64 * output.rows_per_part)
            .sum()
    }
}

/// One output of a world.
#[derive(Debug, Clone)]
pub struct OutputOptions {
    /// The output's id in the catalogue.
    pub output_id: String,
    /// The number of files; a template that names one file allows 1 only.
    pub parts: usize,
    /// The number of rows of each part; 0 gives parts without rows.
    pub rows_per_part: u64,
    /// The number of rows of a row group, in Parquet parts.
    pub row_group_rows: usize,
    /// The compression of Parquet parts.
    pub compression: Compression,
    /// How many parts cover any moment of the span; 1: one after the other.
    pub overlap: usize,
    /// How many rows in a row of event time share one time; 1: no ties but those
    /// that the time column's precision makes.
    pub ties: u64,
    /// How the `ts_utc` column is written.
    pub time: TimeColumn,
    /// Which parts are out of time order; `None` leaves all in order.
    pub disorder: Option<Disorder>,
}

impl OutputOptions {
    /// An output by id: 2 parts of 500 rows in time order, zstd, groups of 8,192 rows.
    pub fn new(output_id: impl Into<String>) -> Self {
        Self {
            output_id: output_id.into(),
            parts: 2,
            rows_per_part: 500,
            row_group_rows: 8_192,
            compression: Compression::Zstd,
            overlap: 1,
            ties: 1,
            time: TimeColumn::default(),
            disorder: None,
        }
    }

    /// What sets the values of this output apart from those of others.
    pub(crate) fn salt(&self, seed: u64) -> u64 {
        self.output_id
            .bytes()
            .fold(seed, |salt, byte| mix_pair(salt, byte.into()))
    }

    /// An output of the sample catalogue.
    pub fn of(output: SampleOutput) -> Self {
        let parts = if output == SampleOutput::MerchantProfile {
            1
        } else {
            2
        };
        Self {
            parts,
            ..Self::new(output.id())
        }
    }
}

/// The outputs of the sample catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SampleOutput {
    /// Traffic before the fraud overlay.
    EventStreamBaseline,
    /// Traffic after the fraud overlay.
    EventStreamWithFraud,
    /// One row a flow.
    FlowAnchorWithFraud,
    /// Entities of each arrival.
    ArrivalEntities,
    /// Arrivals; another gate, and a template that ends in a newline.
    ArrivalEvents,
    /// Labels of events, written as JSON lines.
    EventLabels,
    /// A template that ends in `/`.
    SessionIndex,
    /// A template that names one file, and no gate.
    MerchantProfile,
    /// No primary key: cannot be streamed.
    ValidationIssues,
}

impl SampleOutput {
    /// All nine.
    pub const ALL: [Self; 9] = [
        Self::EventStreamBaseline,
        Self::EventStreamWithFraud,
        Self::FlowAnchorWithFraud,
        Self::ArrivalEntities,
        Self::ArrivalEvents,
        Self::EventLabels,
        Self::SessionIndex,
        Self::MerchantProfile,
        Self::ValidationIssues,
    ];

    /// The five that an engine's own traffic consists of.
    pub const TRAFFIC: [Self; 5] = [
        Self::EventStreamBaseline,
        Self::EventStreamWithFraud,
        Self::FlowAnchorWithFraud,
        Self::ArrivalEntities,
        Self::ArrivalEvents,
    ];

    /// The output's id in the sample catalogue.
    pub fn id(self) -> &'static str {
        match self {
            Self::EventStreamBaseline => "s2_event_stream_baseline_6B",
            Self::EventStreamWithFraud => "s3_event_stream_with_fraud_6B",
            Self::FlowAnchorWithFraud => "s3_flow_anchor_with_fraud_6B",
            Self::ArrivalEntities => "s1_arrival_entities_6B",
            Self::ArrivalEvents => "arrival_events_5B",
            Self::EventLabels => "s4_event_labels_6B",
            Self::SessionIndex => "s1_session_index_6B",
            Self::MerchantProfile => "merchant_profile_5A",
            Self::ValidationIssues => "validation_issue_table_5B",
        }
    }
}

/// Parquet compression of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not compressed.
    None,
    /// Snappy.
    Snappy,
    /// Zstandard, level 1.
    Zstd,
    /// LZ4, raw blocks.
    Lz4,
    /// Zstandard and Snappy by turns, as pyarrow-written worlds mix them.
    Alternating,
}

/// Every `every_nth_part`-th part (1: all, 2: the second, fourth, …) has its rows
/// shuffled within windows of `window_rows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disorder {
    /// Every how many parts one is shuffled; at least 1.
    pub every_nth_part: usize,
    /// The rows of a window, at least 2; one as long as a part shuffles it whole.
    pub window_rows: u64,
}

/// How event times are written into the `ts_utc` column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeColumn {
    /// A string column, every row in one form.
    Text(TimeText),
    /// A string column, the forms row by row.
    MixedText(Vec<TimeText>),
    /// Arrow timestamps.
    Timestamp {
        /// Seconds to nanoseconds.
        unit: arrow_schema::TimeUnit,
        /// As in the schema: `UTC`, `+02:00`, or none. Shown, not applied: the
        /// instants are the same.
        zone: Option<String>,
    },
}

impl Default for TimeColumn {
    fn default() -> Self {
        Self::Text(TimeText::default())
    }
}

/// One textual form of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeText {
    /// The number of fractional digits, 0 to 9.
    pub digits: u8,
    /// A space between date and time, where RFC 3339 has `T`.
    pub space: bool,
    /// How the zone is written.
    pub zone: TimeZoneForm,
}

impl Default for TimeText {
    /// `2026-01-28T08:00:00.000000Z`
    fn default() -> Self {
        Self {
            digits: 6,
            space: false,
            zone: TimeZoneForm::Z,
        }
    }
}

/// How a textual time shows its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZoneForm {
    /// `Z`
    Z,
    /// Nothing; UTC is meant.
    Absent,
    /// `+hh:mm` or `-hh:mm`; the local time is written.
    OffsetMinutes(i16),
}

/// The catalogue and gate map that a world is built against.
#[derive(Debug, Clone, Default)]
pub enum Contracts {
    /// The embedded sample ones; written beside the world.
    #[default]
    Sample,
    /// A caller's own; named by the world's profile where they are. Outputs that are
    /// not of the sample catalogue get rows made from their primary key.
    Files {
        /// The catalogue.
        catalogue: PathBuf,
        /// The gate map.
        gate_map: PathBuf,
    },
}

/// How far a world is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// Bare: a receipt, outputs and gates.
    None,
    /// A manifest without a seal.
    Unsealed,
    /// Manifest and `_SEALED.flag`, which is enough in local posture only.
    SealedByFlag,
    /// Manifest and `_SEALED.json`.
    Sealed,
}

//! Which columns an output has, and what is in them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::options::TimeColumn;

/// The meaning of a column; every value is a function of its row's rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// A world pin, the same in every row.
    ManifestFingerprint,
    ParameterHash,
    ScenarioId,
    RunId,
    Seed,
    SeedUnsigned,
    /// The event time.
    Time,
    /// The flow that a row is an event of: 64 flows of 4 events each take turns.
    FlowId,
    /// The place of the row in its flow.
    EventSeq,
    /// An id that no other row has.
    UniqueId,
    /// The rank itself.
    Serial,
    /// The same, counted from 1.
    Sequence,
    /// The hour of the event time, counted from the world's start.
    Bucket,
    /// The event time without a zone, to the microsecond.
    LocalTime,
    /// How a merchant's zone is known.
    ZoneKind,
    /// One of a thousand merchants.
    Merchant,
    /// The same, above the signed range.
    MerchantUnsigned,
    /// Any id.
    Entity,
    Amount,
    EventType,
    Flag,
    /// Null now and then; sometimes beyond ASCII.
    Campaign,
    Zone,
}

/// The columns of one output, in file order.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) columns: Vec<(String, Column)>,
}

const PINS: [(&str, Column); 4] = [
    ("seed", Column::Seed),
    ("manifest_fingerprint", Column::ManifestFingerprint),
    ("parameter_hash", Column::ParameterHash),
    ("scenario_id", Column::ScenarioId),
];
const ENTITIES: [&str; 5] = [
    "party_id",
    "account_id",
    "instrument_id",
    "device_id",
    "ip_id",
];

impl Shape {
    /// The shape of a sample output; of any other one, what its primary key asks for
    /// plus an event time and an amount.
    pub(crate) fn of(output_id: &str, primary_key: &[String]) -> Self {
        let entities = || ENTITIES.map(|name| (name, Column::Entity));
        let columns: Vec<(&str, Column)> = match output_id {
            "s2_event_stream_baseline_6B" => [&EVENT[..], &PINS].concat(),
            "s3_event_stream_with_fraud_6B" => [&EVENT[..], &PINS, &FRAUD].concat(),
            "s3_flow_anchor_with_fraud_6B" => [
                &[
                    ("flow_id", Column::UniqueId),
                    ("arrival_seq", Column::Serial),
                    ("merchant_id", Column::Merchant),
                ],
                &entities()[..],
                &[("ts_utc", Column::Time), ("amount", Column::Amount)],
                &PINS,
                &FRAUD,
            ]
            .concat(),
            "s1_arrival_entities_6B" => [
                &[
                    ("scenario_id", Column::ScenarioId),
                    ("arrival_seq", Column::Serial),
                    ("merchant_id", Column::Merchant),
                    ("ts_utc", Column::Time),
                ],
                &entities()[..],
                &[("session_id", Column::Entity)],
                &PINS[..3],
            ]
            .concat(),
            "arrival_events_5B" => vec![
                ("manifest_fingerprint", Column::ManifestFingerprint),
                ("seed", Column::SeedUnsigned),
                ("scenario_id", Column::ScenarioId),
                ("merchant_id", Column::MerchantUnsigned),
                ("arrival_seq", Column::Sequence),
                ("ts_utc", Column::Time),
                ("is_virtual", Column::Flag),
                ("tz", Column::Zone),
                ("parameter_hash", Column::ParameterHash),
                ("zone_representation", Column::ZoneKind),
                ("bucket_index", Column::Bucket),
                ("tzid_primary", Column::Zone),
                ("ts_local_primary", Column::LocalTime),
            ],
            "s4_event_labels_6B" => [
                &PINS[..],
                &[
                    ("flow_id", Column::FlowId),
                    ("event_seq", Column::EventSeq),
                    ("ts_utc", Column::Time),
                ],
                &FRAUD,
            ]
            .concat(),
            _ => return Self::from_key(output_id, primary_key),
        };
        Self::named(columns)
    }

    fn named<'a>(columns: impl IntoIterator<Item = (&'a str, Column)>) -> Self {
        let columns = columns
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
        Self { columns }
    }

    /// A key of one column gets ids of its own; of several, flows and their events.
    fn from_key(output_id: &str, primary_key: &[String]) -> Self {
        let is_pin = |name: &str| PINS.iter().any(|pin| pin.0 == name) || name == "run_id";
        let own: Vec<&str> = primary_key
            .iter()
            .map(String::as_str)
            .filter(|name| !is_pin(name))
            .collect();
        let mut columns = PINS.to_vec();
        if primary_key.iter().any(|name| name == "run_id") {
            columns.push(("run_id", Column::RunId));
        }
        columns.extend(own.iter().enumerate().map(|(place, name)| {
            let kind = match (place, own.len()) {
                (0, 1) => Column::UniqueId,
                (0, _) => Column::FlowId,
                (1, _) => Column::EventSeq,
                _ => Column::Serial,
            };
            (*name, kind)
        }));
        // As the engine names it: sessions have a start and no time of their own.
        let time = match output_id {
            "s1_session_index_6B" => "session_start_utc",
            _ => "ts_utc",
        };
        for (name, kind) in [(time, Column::Time), ("amount", Column::Amount)] {
            if !own.contains(&name) {
                columns.push((name, kind));
            }
        }
        Self::named(columns)
    }

    pub(crate) fn schema(&self, time: &TimeColumn) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, column)| {
            let data_type = match column {
                Column::Time => match time {
                    TimeColumn::Text(_) | TimeColumn::MixedText(_) => DataType::Utf8,
                    TimeColumn::Timestamp { unit, zone } => {
                        DataType::Timestamp(*unit, zone.as_deref().map(Arc::from))
                    }
                },
                Column::ManifestFingerprint
                | Column::ParameterHash
                | Column::ScenarioId
                | Column::RunId
                | Column::EventType
                | Column::Campaign
                | Column::LocalTime
                | Column::ZoneKind
                | Column::Zone => DataType::Utf8,
                Column::Seed
                | Column::FlowId
                | Column::EventSeq
                | Column::UniqueId
                | Column::Serial
                | Column::Sequence
                | Column::Bucket
                | Column::Merchant
                | Column::Entity => DataType::Int64,
                Column::SeedUnsigned | Column::MerchantUnsigned => DataType::UInt64,
                Column::Amount => DataType::Float64,
                Column::Flag => DataType::Boolean,
            };
            Field::new(name, data_type, true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

const EVENT: [(&str, Column); 5] = [
    ("flow_id", Column::FlowId),
    ("event_seq", Column::EventSeq),
    ("event_type", Column::EventType),
    ("ts_utc", Column::Time),
    ("amount", Column::Amount),
];
const FRAUD: [(&str, Column); 2] = [
    ("fraud_flag", Column::Flag),
    ("campaign_id", Column::Campaign),
];

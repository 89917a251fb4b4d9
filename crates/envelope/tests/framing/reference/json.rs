//! Cells as JSON values, the plain way.

use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use serde_json::{Map, Value, json};

use super::cell::{Cell, ticks_per_second};

/// `value` × 10^-`scale`, digit by digit.
fn decimal(value: i128, scale: i8) -> Value {
    let mut digits = value.unsigned_abs().to_string();
    if scale <= 0 {
        let zeros = if value == 0 { 0 } else { scale.unsigned_abs() };
        digits.push_str(&"0".repeat(zeros.into()));
    } else {
        let fraction = usize::from(scale.unsigned_abs());
        digits = format!("{digits:0>width$}", width = fraction + 1);
        digits.insert(digits.len() - fraction, '.');
    }
    let sign = if value < 0 { "-" } else { "" };
    serde_json::from_str(&format!("{sign}{digits}")).unwrap()
}

/// What fraction of a second `ticks` has, as text of the unit's digits.
fn fraction(ticks: i64, unit: TimeUnit) -> String {
    let per_second = ticks_per_second(unit);
    let digits = per_second.to_string().len() - 1;
    match digits {
        0 => String::new(),
        _ => format!(".{:0digits$}", ticks.rem_euclid(per_second)),
    }
}

pub(super) fn json(data_type: &DataType, cell: &Cell) -> Value {
    use DataType as D;
    let day = |days: i64| {
        (NaiveDate::from_ymd_opt(1970, 1, 1).unwrap() + TimeDelta::days(days)).to_string()
    };
    match (data_type, cell) {
        (_, Cell::Null) => Value::Null,
        (_, Cell::Bool(value)) => json!(value),
        (_, Cell::Float(value)) => json!(value),
        (_, Cell::Text(text)) => json!(text),
        (_, Cell::Bytes(bytes)) => {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (D::Dictionary(_, inner), cell) => json(inner, cell),
        (D::RunEndEncoded(_, inner), cell) => json(inner.data_type(), cell),
        (D::Timestamp(unit, zone), Cell::Int(ticks)) => {
            let ticks = *ticks as i64;
            let seconds = ticks.div_euclid(ticks_per_second(*unit));
            let text = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let end = if zone.is_some() { "Z" } else { "" };
            json!(format!(
                "{}{}{end}",
                text.format("%Y-%m-%dT%H:%M:%S"),
                fraction(ticks, *unit)
            ))
        }
        (D::Time32(unit) | D::Time64(unit), Cell::Int(ticks)) => {
            let ticks = *ticks as i64;
            let seconds = (ticks / ticks_per_second(*unit)) as u32;
            let time = NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0).unwrap();
            json!(format!(
                "{}{}",
                time.format("%H:%M:%S"),
                fraction(ticks, *unit)
            ))
        }
        (D::Date32, Cell::Int(days)) => json!(day(*days as i64)),
        (D::Date64, Cell::Int(millis)) => json!(day((*millis as i64).div_euclid(86_400_000))),
        (
            D::Decimal32(_, scale)
            | D::Decimal64(_, scale)
            | D::Decimal128(_, scale)
            | D::Decimal256(_, scale),
            Cell::Int(value),
        ) => decimal(*value, *scale),
        (_, Cell::Int(value)) => match u64::try_from(*value) {
            Ok(value) => json!(value),
            Err(_) => json!(*value as i64),
        },
        (D::Struct(fields), Cell::Items(items)) => {
            let fields = fields.iter().zip(items);
            let object: Map<_, _> = fields
                .map(|(field, item)| (field.name().clone(), json(field.data_type(), item)))
                .collect();
            Value::Object(object)
        }
        (
            D::List(item)
            | D::LargeList(item)
            | D::ListView(item)
            | D::LargeListView(item)
            | D::FixedSizeList(item, _),
            Cell::Items(items),
        ) => items
            .iter()
            .map(|cell| json(item.data_type(), cell))
            .collect(),
        (D::Map(entries, _), Cell::Entries(content)) => {
            let D::Struct(entry) = entries.data_type() else {
                unreachable!()
            };
            let value = |cell| json(entry[1].data_type(), cell);
            Value::Object(
                content
                    .iter()
                    .map(|(key, cell)| (key.clone(), value(cell)))
                    .collect(),
            )
        }
        other => unreachable!("{other:?} is not generated"),
    }
}

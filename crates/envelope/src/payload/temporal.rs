//! Dates, times of day and timestamps, with the digits of their unit.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, PrimitiveArray};
use arrow_schema::TimeUnit;

use super::{AppendValue, Appended, unsupported};
use model::{DAYS, Date, clock_text, date_and_clock, digits};

const SECONDS_PER_DAY: i64 = 86_400;
const OUTSIDE: &str = "is outside the years 0000 to 9999";

/// How a unit divides the second.
#[derive(Clone, Copy)]
struct Precision {
    per_second: i64,
    digits: usize,
}

impl Precision {
    const fn of(unit: TimeUnit) -> Self {
        match unit {
            TimeUnit::Second => Self {
                per_second: 1,
                digits: 0,
            },
            TimeUnit::Millisecond => Self {
                per_second: 1_000,
                digits: 3,
            },
            TimeUnit::Microsecond => Self {
                per_second: 1_000_000,
                digits: 6,
            },
            TimeUnit::Nanosecond => Self {
                per_second: 1_000_000_000,
                digits: 9,
            },
        }
    }

    fn append_fraction(self, fraction: i64, out: &mut Vec<u8>) {
        if self.digits > 0 {
            out.push(b'.');
            let digits = digits::<9>(fraction as u32);
            out.extend_from_slice(&digits[9 - self.digits..]);
        }
    }
}

pub(super) fn timestamps(array: &dyn Array, unit: TimeUnit, zoned: bool) -> AppendValue<'_> {
    let values: &[i64] = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values(),
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().values(),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().values(),
    };
    let precision = Precision::of(unit);
    // Arrow keeps zoned timestamps in UTC, so the zone itself adds nothing but the `Z`.
    let end: &[u8] = if zoned { b"Z\"" } else { b"\"" };
    Box::new(move |row, out| {
        let seconds = values[row].div_euclid(precision.per_second);
        if !DAYS.contains(&seconds.div_euclid(SECONDS_PER_DAY)) {
            return unsupported(OUTSIDE);
        }
        let (date, clock) = date_and_clock(seconds);
        out.push(b'"');
        out.extend_from_slice(&date);
        out.push(b'T');
        out.extend_from_slice(&clock);
        precision.append_fraction(values[row].rem_euclid(precision.per_second), out);
        out.extend_from_slice(end);
        Ok(())
    })
}

pub(super) fn times_of_day(array: &dyn Array, unit: TimeUnit) -> AppendValue<'_> {
    match unit {
        TimeUnit::Second => {
            time_of_day_values(array.as_primitive::<Time32SecondType>().values(), unit)
        }
        TimeUnit::Millisecond => {
            time_of_day_values(array.as_primitive::<Time32MillisecondType>().values(), unit)
        }
        TimeUnit::Microsecond => {
            time_of_day_values(array.as_primitive::<Time64MicrosecondType>().values(), unit)
        }
        TimeUnit::Nanosecond => {
            time_of_day_values(array.as_primitive::<Time64NanosecondType>().values(), unit)
        }
    }
}

fn time_of_day_values<N: Into<i64> + Copy>(values: &[N], unit: TimeUnit) -> AppendValue<'_> {
    let precision = Precision::of(unit);
    Box::new(move |row, out| {
        let value: i64 = values[row].into();
        let seconds = value.div_euclid(precision.per_second);
        if !(0..SECONDS_PER_DAY).contains(&seconds) {
            return unsupported("is not a time of day");
        }
        out.push(b'"');
        out.extend_from_slice(&clock_text(seconds as u32));
        precision.append_fraction(value.rem_euclid(precision.per_second), out);
        out.push(b'"');
        Ok(())
    })
}

pub(super) fn dates(array: &PrimitiveArray<Date32Type>) -> AppendValue<'_> {
    let values = array.values();
    Box::new(|row, out| append_date(i64::from(values[row]), out))
}

pub(super) fn millisecond_dates(array: &PrimitiveArray<Date64Type>) -> AppendValue<'_> {
    let values = array.values();
    Box::new(|row, out| append_date(values[row].div_euclid(SECONDS_PER_DAY * 1_000), out))
}

fn append_date(days: i64, out: &mut Vec<u8>) -> Appended {
    if !DAYS.contains(&days) {
        return unsupported(OUTSIDE);
    }
    out.push(b'"');
    out.extend_from_slice(&Date::from_days(days).text());
    out.push(b'"');
    Ok(())
}

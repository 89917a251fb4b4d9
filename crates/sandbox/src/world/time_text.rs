//! Event times as text, in the forms that engines write.

use chrono::{DateTime, Datelike, Timelike};

use super::options::{TimeText, TimeZoneForm};

const NANOS: i64 = 1_000_000_000;

/// Writes times in one form. The date and the whole second are rendered anew only
/// when they change: rows mostly come in time order.
#[derive(Debug)]
pub(crate) struct TimeWriter {
    form: TimeText,
    zone: String,
    second: Option<i64>,
    head: String,
}

impl TimeWriter {
    pub(crate) fn new(form: TimeText) -> Self {
        let zone = match form.zone {
            TimeZoneForm::Z => "Z".to_owned(),
            TimeZoneForm::Absent => String::new(),
            TimeZoneForm::OffsetMinutes(offset) => {
                let (hours, minutes) = (offset.unsigned_abs() / 60, offset.unsigned_abs() % 60);
                format!(
                    "{}{hours:02}:{minutes:02}",
                    if offset < 0 { '-' } else { '+' }
                )
            }
        };
        Self {
            form,
            zone,
            second: None,
            head: String::new(),
        }
    }

    /// Appends a time, given in nanoseconds since 1970; finer digits than the form
    /// has are cut off.
    pub(crate) fn write(&mut self, time_ns: i64, into: &mut String) {
        let second = time_ns.div_euclid(NANOS);
        if self.second != Some(second) {
            self.head = head(second, self.form);
            self.second = Some(second);
        }
        into.push_str(&self.head);
        let digits = usize::from(self.form.digits.min(9));
        if digits > 0 {
            let mut fraction = time_ns.rem_euclid(NANOS);
            let mut text = *b"000000000";
            for digit in text.iter_mut().rev() {
                *digit = b'0' + (fraction % 10) as u8;
                fraction /= 10;
            }
            into.push('.');
            into.extend(text[..digits].iter().map(|digit| char::from(*digit)));
        }
        into.push_str(&self.zone);
    }
}

fn head(second: i64, form: TimeText) -> String {
    let shift = match form.zone {
        TimeZoneForm::OffsetMinutes(minutes) => i64::from(minutes) * 60,
        TimeZoneForm::Z | TimeZoneForm::Absent => 0,
    };
    let time = DateTime::from_timestamp(second + shift, 0).unwrap_or_default();
    format!(
        "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}",
        time.year(),
        time.month(),
        time.day(),
        if form.space { ' ' } else { 'T' },
        time.hour(),
        time.minute(),
        time.second(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(form: TimeText, time_ns: i64) -> String {
        let mut text = String::new();
        TimeWriter::new(form).write(time_ns, &mut text);
        text
    }

    #[test]
    fn a_time_is_written_in_every_form() {
        let time = 1_769_587_264_397_428_901;
        assert_eq!(
            text(TimeText::default(), time),
            "2026-01-28T08:01:04.397428Z"
        );
        let bare = TimeText {
            digits: 0,
            space: true,
            zone: TimeZoneForm::Absent,
        };
        assert_eq!(text(bare, time), "2026-01-28 08:01:04");
        let east = TimeText {
            digits: 9,
            space: false,
            zone: TimeZoneForm::OffsetMinutes(330),
        };
        assert_eq!(text(east, time), "2026-01-28T13:31:04.397428901+05:30");
        let west = TimeText {
            digits: 3,
            zone: TimeZoneForm::OffsetMinutes(-210),
            ..east
        };
        assert_eq!(text(west, -1), "1969-12-31T20:29:59.999-03:30");
    }
}

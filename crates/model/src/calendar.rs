//! Days since 1970-01-01 to dates of the proleptic Gregorian calendar and back.
//!
//! The year is taken to begin on 1 March, so that the leap day is its last one, and to be counted
//! within eras of 400 years, which all have the same number of days. Both ways are then plain
//! integer arithmetic without tables or loops.

/// The first and last day that a four-digit year can write, counted from 1970-01-01.
pub const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

const SECONDS_IN_DAY: i64 = 86_400;
const DAYS_IN_ERA: i64 = 146_097;
/// From 0000-03-01, where era 0 begins, to 1970-01-01.
const ERA_TO_EPOCH: i64 = 719_468;

/// A date with a year of 0 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// The year, 0 to 9999.
    pub year: u32,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day of the month, 1 to 31.
    pub day: u32,
}

impl Date {
    /// The date that is `days` after 1970-01-01; the caller keeps to [`DAYS`].
    #[inline]
    pub fn from_days(days: i64) -> Self {
        debug_assert!(DAYS.contains(&days));
        let since_era_0 = days + ERA_TO_EPOCH;
        let era = since_era_0.div_euclid(DAYS_IN_ERA);
        let day_of_era = since_era_0.rem_euclid(DAYS_IN_ERA) as u32;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year_from_march = era * 400 + i64::from(year_of_era);
        Self {
            year: (year_from_march + i64::from(month <= 2)) as u32,
            month,
            day,
        }
    }

    /// Days from 1970-01-01, or `None` if the calendar has no such date.
    #[inline]
    pub fn days(self) -> Option<i64> {
        if !(1..=12).contains(&self.month) || !(1..=self.days_in_month()).contains(&self.day) {
            return None;
        }
        let year_from_march = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year_from_march.div_euclid(400);
        let year_of_era = year_from_march.rem_euclid(400);
        let month_from_march = i64::from((self.month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(era * DAYS_IN_ERA + day_of_era - ERA_TO_EPOCH)
    }

    fn days_in_month(self) -> u32 {
        let year = self.year;
        let leap =
            year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// The date as `YYYY-MM-DD`.
    #[inline]
    pub fn text(self) -> [u8; 10] {
        let mut text = *b"0000-00-00";
        text[0..2].copy_from_slice(&two_digits(self.year / 100));
        text[2..4].copy_from_slice(&two_digits(self.year % 100));
        text[5..7].copy_from_slice(&two_digits(self.month));
        text[8..10].copy_from_slice(&two_digits(self.day));
        text
    }
}

/// The time of day, `HH:MM:SS`, of a second of the day, 0 to 86,399.
#[inline]
pub fn clock_text(second_of_day: u32) -> [u8; 8] {
    let mut text = *b"00:00:00";
    text[0..2].copy_from_slice(&two_digits(second_of_day / 3_600));
    text[3..5].copy_from_slice(&two_digits(second_of_day / 60 % 60));
    text[6..8].copy_from_slice(&two_digits(second_of_day % 60));
    text
}

/// The date and the time of day that are `seconds` after 1970-01-01; the caller keeps to
/// [`DAYS`].
#[inline]
pub fn date_and_clock(seconds: i64) -> ([u8; 10], [u8; 8]) {
    let date = Date::from_days(seconds.div_euclid(SECONDS_IN_DAY)).text();
    (date, clock_text(seconds.rem_euclid(SECONDS_IN_DAY) as u32))
}

/// The last `N` decimal digits of a number, with leading zeros.
#[inline]
pub fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}

fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use chrono::{Datelike, NaiveDate};

    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_the_one_that_chrono_names() {
        let mut expected = NaiveDate::from_ymd_opt(0, 1, 1).unwrap();
        for days in DAYS {
            let date = Date::from_days(days);
            assert_eq!(
                (date.year as i32, date.month, date.day),
                (expected.year(), expected.month(), expected.day())
            );
            assert_eq!(date.days(), Some(days));
            expected = expected.succ_opt().unwrap();
        }
        assert_eq!(expected, NaiveDate::from_ymd_opt(10_000, 1, 1).unwrap());
    }

    #[test]
    fn dates_that_no_calendar_has_are_refused() {
        let exists = |year, month, day| Date { year, month, day }.days().is_some();
        assert!(exists(2024, 2, 29) && exists(2000, 2, 29));
        for (year, month, day) in [
            (2026, 2, 29),
            (1900, 2, 29),
            (2026, 4, 31),
            (2026, 0, 1),
            (2026, 13, 1),
            (2026, 1, 0),
        ] {
            assert!(!exists(year, month, day), "{year}-{month}-{day}");
        }
    }
}

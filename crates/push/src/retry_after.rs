//! The `retry-after` header, in both its forms (RFC 9110, section 10.2.3).

use std::time::{Duration, SystemTime};

/// When the gate wants to be asked again, as a `retry-after` header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// Again after this time.
    Delay(Duration),
    /// Again at this moment of the gate's wall clock.
    At(SystemTime),
}

impl RetryAfter {
    /// Reads the header's value, whole seconds or an HTTP date; `None` for anything else.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?.trim_ascii();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // What no u64 holds is longer than anyone waits.
            return Some(Self::Delay(Duration::from_secs(
                text.parse().unwrap_or(u64::MAX),
            )));
        }
        httpdate::parse_http_date(text).ok().map(Self::At)
    }

    /// The time to wait from `now` on; zero for a moment that has passed.
    pub fn delay_from(self, now: SystemTime) -> Duration {
        match self {
            Self::Delay(delay) => delay,
            Self::At(moment) => moment.duration_since(now).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1994-11-06 08:49:37 UTC, the moment that the RFC spells in every form.
    fn moment() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    #[test]
    fn seconds_are_a_delay() {
        for (text, seconds) in [("0", 0), ("120", 120), (" 7 ", 7)] {
            let parsed = RetryAfter::parse(text.as_bytes());
            assert_eq!(
                parsed,
                Some(RetryAfter::Delay(Duration::from_secs(seconds))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_beyond_64_bits_is_a_very_long_delay() {
        let parsed = RetryAfter::parse(b"99999999999999999999999999");
        assert_eq!(
            parsed,
            Some(RetryAfter::Delay(Duration::from_secs(u64::MAX)))
        );
    }

    #[test]
    fn all_three_forms_of_an_http_date_are_read() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(
                RetryAfter::parse(text.as_bytes()),
                Some(RetryAfter::At(moment())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_date_counts_from_the_wall_clock_and_the_past_is_now() {
        let at = RetryAfter::At(moment());
        let minute = Duration::from_mins(1);
        assert_eq!(at.delay_from(moment() - minute), minute);
        assert_eq!(at.delay_from(moment() + minute), Duration::ZERO);
    }

    #[test]
    fn what_is_neither_is_passed_over() {
        for text in [
            "",
            "-1",
            "1.5",
            "soon",
            "1s",
            "+5",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "\u{662}",
        ] {
            assert_eq!(RetryAfter::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            RetryAfter::parse(&value).map(|after| after.delay_from(SystemTime::UNIX_EPOCH));
        }
    }
}

//! Numbers, bytes and durations as people read them.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount, HumanDuration};

/// A number with a comma at each thousand: `12,345`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A number that may be unknown, which is `?`.
pub fn count_or_unknown(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), count)
}

/// Bytes in the largest binary unit that keeps a digit: `1.21 MiB`.
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// Seconds: `12.3 s`, and in words from a minute on.
pub fn seconds(seconds: f64) -> String {
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds >= 60.0 => HumanDuration(duration).to_string(),
        _ if seconds > 0.0 && seconds < 1.0 => format!("{seconds:.3} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// Events a second: `1,000`, and with a digit below ten.
pub fn rate(events_per_second: f64) -> String {
    if events_per_second < 10.0 {
        format!("{events_per_second:.1}")
    } else {
        count(events_per_second.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_shown_in_the_unit_that_suits_them() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count_or_unknown(None), "?");
        assert_eq!(bytes(1_268_000), "1.21 MiB");
        assert_eq!(
            [0.0, 0.0126, 12.34, 3_600.0].map(seconds),
            ["0.0 s", "0.013 s", "12.3 s", "60 minutes"]
        );
        assert_eq!([0.25, 1_000.4].map(rate), ["0.2", "1,000"]);
    }
}

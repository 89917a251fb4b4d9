//! The text of an event time, beside `chrono`.
#![no_main]

use chrono::DateTime;
use model::EventTime;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match EventTime::parse(text) {
        Ok(time) => {
            let nanos = time.nanos();
            assert_eq!(
                EventTime::from_nanos(nanos),
                Some(time),
                "it is within the years 0 to 9999"
            );
            assert_eq!(
                by_chrono(&with_zone(text)),
                Some(nanos),
                "chrono reads {text:?} otherwise"
            );
            // Written again it is the same whole microsecond, and in order.
            let written = time.to_string();
            assert_eq!(written.len(), EventTime::TEXT_LEN);
            let again = EventTime::parse(&written);
            assert_eq!(again, Ok(time.in_whole_micros()));
            assert!(again.is_ok_and(|again| again <= time && time.nanos() - again.nanos() < 1_000));
        }
        Err(error) => {
            assert!(!error.why().is_empty());
            let in_range = |nanos: &i128| EventTime::from_nanos(*nanos).is_some();
            let read = by_chrono(text).filter(in_range);
            assert!(
                read.is_none() || is_refused_on_purpose(text),
                "chrono reads {text:?}, which is refused: {error}"
            );
        }
    }
});

/// Nanoseconds since 1970 of an RFC 3339 time.
fn by_chrono(text: &str) -> Option<i128> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos()))
}

/// The same text with the zone that RFC 3339 asks for: `Z` for none, `+01:00` for `+01` and
/// `+0100`.
fn with_zone(text: &str) -> String {
    let zone = text[19..].find(['Z', 'z', '+', '-']).map(|at| at + 19);
    match zone.map(|at| (at, text.len() - at)) {
        None => format!("{text}Z"),
        Some((_, 3)) => format!("{text}:00"),
        Some((at, 5)) => format!("{}:{}", &text[..at + 3], &text[at + 3..]),
        _ => text.to_owned(),
    }
}

/// Leap seconds and more than nine fractional digits, which no nanoseconds can order.
fn is_refused_on_purpose(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    text.get(17..19) == Some("60") || digits > 9
}

//! The `retry-after` header, beside `httpdate` and `chrono`.
#![no_main]

use std::time::{Duration, SystemTime};

use push::RetryAfter;

libfuzzer_sys::fuzz_target!(|value: &[u8]| {
    let parsed = RetryAfter::parse(value);
    let text = std::str::from_utf8(value).ok().map(str::trim_ascii);
    match parsed {
        None => assert!(
            text.and_then(expected).is_none(),
            "a readable value is passed over"
        ),
        Some(after) => {
            assert_eq!(
                Some(after),
                text.and_then(expected),
                "read otherwise elsewhere"
            );
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_590_800);
            let delay = after.delay_from(now);
            if let RetryAfter::At(moment) = after {
                assert!(delay.is_zero() == (moment <= now));
                let again = httpdate::fmt_http_date(moment);
                assert_eq!(
                    RetryAfter::parse(again.as_bytes()),
                    Some(after),
                    "written again: {again}"
                );
            } else {
                let again = delay.as_secs().to_string();
                assert_eq!(RetryAfter::parse(again.as_bytes()), Some(after));
            }
        }
    }
});

/// What the value says, by digits of any number and by the parser of HTTP dates.
fn expected(text: &str) -> Option<RetryAfter> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.bytes().fold(0_u64, |seconds, digit| {
            seconds
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        return Some(RetryAfter::Delay(Duration::from_secs(seconds)));
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    let seconds = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?
        .as_secs();
    // A second reader of the preferred form.
    let imf = chrono::NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT");
    if let Ok(imf) = imf {
        assert_eq!(u64::try_from(imf.and_utc().timestamp()), Ok(seconds));
    }
    Some(RetryAfter::At(moment))
}

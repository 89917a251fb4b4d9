//! The optional field `emitted_at_utc` of an envelope: when its event set out.
//!
//! Envelopes are framed long before they are posted, so a lane adds the field itself, once an event
//! is the next to be posted. What is posted is kept as it is: retries repeat the same bytes, and an
//! event that is set aside is set aside with its stamp.

use bytes::{Bytes, BytesMut};
use envelope::EventTime;
use model::Clock;

const FIELD: &[u8] = br#","emitted_at_utc":""#;
const END: &[u8] = br#""}"#;

/// The longest stamped envelope whose memory is kept for the next one: a lane that had one large
/// event holds no more for good.
const MOST_KEPT: usize = 64 << 10;

/// Stamps the envelopes of one lane.
#[derive(Debug)]
pub(crate) struct EmissionStamp<C> {
    clock: C,
    /// Where stamped envelopes lie. It is used again once an envelope is answered for, so that
    /// nothing is allocated for each.
    buffer: BytesMut,
}

impl<C: Clock> EmissionStamp<C> {
    /// Stamps by the wall time of `clock`.
    pub(crate) fn new(clock: C) -> Self {
        Self {
            clock,
            buffer: BytesMut::new(),
        }
    }

    /// The envelope with the present wall time as its last field, cut to microseconds. What is no
    /// JSON object, and a wall time outside of the years 0000 to 9999, leaves it as it is.
    pub(crate) fn stamped(&mut self, envelope: Bytes) -> Bytes {
        let now = EventTime::of_wall(self.clock.wall());
        let (Some(fields), Some(now)) = (envelope.strip_suffix(b"}"), now) else {
            return envelope;
        };
        let text = now.text();
        let parts = [fields, FIELD, &text, END];
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes > MOST_KEPT {
            return parts.concat().into();
        }
        self.buffer.reserve(bytes);
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.buffer.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    /// A clock whose wall time stands still.
    #[derive(Clone)]
    struct Still(SystemTime);

    impl Clock for Still {
        fn now(&self) -> Instant {
            unreachable!("a stamp is wall time")
        }

        fn wall(&self) -> SystemTime {
            self.0
        }

        async fn sleep(&self, _delay: Duration) {}
    }

    fn stamp(micros: u64) -> EmissionStamp<Still> {
        EmissionStamp::new(Still(
            SystemTime::UNIX_EPOCH + Duration::from_micros(micros),
        ))
    }

    #[test]
    fn the_wall_time_is_the_last_field_in_microseconds() {
        let stamped =
            stamp(1_769_590_540_100_195).stamped(Bytes::from_static(br#"{"payload":{}}"#));
        let wanted = br#"{"payload":{},"emitted_at_utc":"2026-01-28T08:55:40.100195Z"}"#;
        assert_eq!(stamped, wanted.as_slice());
    }

    #[test]
    fn what_is_no_object_is_left_as_it_is() {
        let text = Bytes::from_static(b"[1]");
        assert_eq!(stamp(0).stamped(text.clone()), text);
    }

    #[test]
    fn a_large_envelope_leaves_no_memory_behind() {
        let mut stamp = stamp(0);
        let large = Bytes::from(vec![b'}'; 4 << 20]);
        assert!(stamp.stamped(large).len() > 4 << 20);
        assert!(stamp.buffer.capacity() <= MOST_KEPT);
    }

    #[test]
    fn an_envelope_that_is_answered_for_leaves_its_memory_to_the_next() {
        let mut stamp = stamp(0);
        let body = Bytes::from(vec![b'}'; 4_096]);
        let place = |stamped: Bytes| stamped.as_ptr();
        let first = place(stamp.stamped(body.clone()));
        assert_eq!(place(stamp.stamped(body.clone())), first);
        // One that is kept is not written over.
        let kept = stamp.stamped(body.clone());
        assert_ne!(place(stamp.stamped(body)), kept.as_ptr());
    }
}

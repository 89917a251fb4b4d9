//! Event times of the borders that events cross: handed over, acknowledged, durable.

use envelope::EventTime;

/// How far a stream is in event time, border by border.
///
/// Of an order by event time, all events up to a border's time have crossed it. Of parts as they
/// were written, it is the time of the last event of the prefix that has. All are `None` before
/// the first event of the run crosses the border.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BorderTimes {
    /// The event time of the last event that was handed to a lane; `None` too where it lies
    /// outside the years 1678 to 2261.
    pub handed_over: Option<EventTime>,
    /// The event time up to which each event handed over is acknowledged or set aside.
    pub acknowledged: Option<EventTime>,
    /// The event time up to which each event handed over is covered by saved cursors.
    pub durable: Option<EventTime>,
}

/// What is known of one output at a border.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtBorder {
    /// Whether an event of the output has not crossed the border yet.
    pub(crate) is_behind: bool,
    /// The event time of the output's last event before the first that has not.
    pub(crate) reached: Option<EventTime>,
}

/// The event time of a border over all outputs, which stood at `before`.
///
/// | outputs | border |
/// |---|---|
/// | none has an event behind it | the latest time that any reached |
/// | some have | the earliest time that one of those reached |
/// | one of those reached none yet | as before |
pub(crate) fn border(outputs: &[AtBorder], before: Option<EventTime>) -> Option<EventTime> {
    let behind = outputs.iter().filter(|output| output.is_behind);
    match behind.map(|output| output.reached).min() {
        Some(Some(earliest)) => Some(earliest),
        Some(None) => before,
        None => outputs.iter().filter_map(|output| output.reached).max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_with_events_behind_the_border_holds_it_and_a_finished_one_does_not() {
        let at = |nanos: i128| EventTime::from_nanos(nanos);
        let of = |outputs: &[(bool, Option<EventTime>)]| {
            let outputs = outputs.iter();
            let outputs = outputs.map(|&(is_behind, reached)| AtBorder { is_behind, reached });
            border(&outputs.collect::<Vec<_>>(), at(7))
        };
        assert_eq!(of(&[(false, None), (false, None)]), None);
        assert_eq!(of(&[(false, at(10)), (false, at(20))]), at(20));
        assert_eq!(of(&[(true, at(10)), (false, at(20))]), at(10));
        assert_eq!(of(&[(false, at(10)), (true, at(20))]), at(20));
        assert_eq!(
            of(&[(true, at(15)), (true, at(20)), (false, at(3))]),
            at(15)
        );
        assert_eq!(of(&[(true, None), (false, at(20))]), at(7));
    }
}

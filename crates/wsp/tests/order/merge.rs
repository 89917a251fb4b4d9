//! The event-time order against a naive sort, over many small worlds.

use std::sync::Arc;

use crate::world::{
    Names, Place, Reading, World, WorldParts, at, done_of, drain, merge, sorted, spans, untouched,
};
use proptest::prelude::*;
use replay::{EventOrder, Merge, Overlap, PartId, PartSpan, TimeWindow};

/// Up to three outputs of up to six parts, few distinct times and so many ties; every
/// other part is in order.
fn worlds() -> impl Strategy<Value = World> {
    let part = (prop::collection::vec(0i64..30, 0..12), any::<bool>()).prop_map(
        |(mut times, in_order)| {
            if in_order {
                times.sort_unstable();
            }
            times
        },
    );
    prop::collection::vec(prop::collection::vec(part, 0..6), 1..4)
}

fn readings() -> impl Strategy<Value = Reading> {
    (1usize..9, 1usize..5).prop_map(|(chunk_rows, workers)| Reading {
        chunk_rows,
        workers,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events_leave_as_a_naive_sort_has_them(world in worlds(), reading in readings()) {
        let mut merge = merge(&world, reading, &untouched(&world), TimeWindow::default());
        let (places, error) = drain(&mut merge);
        prop_assert!(error.is_none());
        prop_assert_eq!(places, sorted(&world));
    }

    #[test]
    fn a_resume_from_any_cursors_gives_the_exact_suffix_of_each_output(
        world in worlds(),
        reading in readings(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 3),
    ) {
        let done = done_of(&world, &picks);
        let (places, error) = drain(&mut merge(&world, reading, &done, TimeWindow::default()));
        prop_assert!(error.is_none());
        let open = |place: &Place| !place.is_done(done[place.output]);
        prop_assert_eq!(places, sorted(&world).into_iter().filter(open).collect::<Vec<_>>());
    }

    #[test]
    fn a_window_streams_what_lies_in_it_whatever_is_done(
        world in worlds(),
        reading in readings(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 3),
        from in prop::option::of(0i64..31),
        to in prop::option::of(0i64..31),
    ) {
        let done = done_of(&world, &picks);
        let window = TimeWindow { from: from.map(at), to: to.map(at) };
        let (places, error) = drain(&mut merge(&world, reading, &done, window));
        prop_assert!(error.is_none());
        let wanted = |place: &Place| {
            !place.is_done(done[place.output])
                && from.is_none_or(|from| from <= place.time)
                && to.is_none_or(|to| place.time < to)
        };
        prop_assert_eq!(places, sorted(&world).into_iter().filter(wanted).collect::<Vec<_>>());
    }

    /// One output or another is left out, now and then: the rest stays where it is.
    #[test]
    fn an_output_that_is_left_out_takes_nothing_else_with_it(
        world in worlds(),
        reading in readings(),
        leave in prop::collection::vec(prop::option::weighted(0.2, any::<prop::sample::Index>()), 40),
    ) {
        // After which event which output is left out.
        let left_after = |event: usize| {
            let picked = leave.get(event).copied().flatten()?;
            Some(picked.index(world.len()))
        };
        let mut merge = merge(&world, reading, &untouched(&world), TimeWindow::default());
        let mut places = Vec::new();
        while let Some(event) = merge.next().unwrap() {
            places.push(Place::of(&event));
            if let Some(output) = left_after(places.len() - 1) {
                merge.leave_out(output);
            }
        }
        let (mut wanted, mut is_left_out) = (Vec::new(), vec![false; world.len()]);
        for place in sorted(&world) {
            if is_left_out[place.output] {
                continue;
            }
            wanted.push(place);
            if let Some(output) = left_after(wanted.len() - 1) {
                is_left_out[output] = true;
            }
        }
        prop_assert_eq!(places, wanted);
    }

    #[test]
    fn the_largest_overlap_is_that_of_the_fullest_instant(world in worlds()) {
        let spans = spans(&world, &untouched(&world), TimeWindow::default());
        let open_at = |time: i64| {
            let open = |span: &&PartSpan| span.first.time <= at(time) && at(time) <= span.last.time;
            spans.iter().filter(open).count()
        };
        let largest = (0..30).map(open_at).max().unwrap_or_default();
        prop_assert_eq!(Overlap::of(&spans, 0).largest, largest);
    }

    /// Whatever an index said, what leaves is in order.
    #[test]
    fn a_part_that_is_not_what_its_index_says_is_never_misordered(
        world in worlds(),
        reading in readings(),
        (output, part) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        times in prop::collection::vec(0i64..30, 0..12),
    ) {
        let output = output.index(world.len());
        prop_assume!(!world[output].is_empty());
        let part = part.index(world[output].len());
        let spans = spans(&world, &untouched(&world), TimeWindow::default());
        let mut changed = world.clone();
        changed[output][part] = times;
        let parts = Box::new(WorldParts::new(&changed, reading));
        let (places, error) = drain(&mut Merge::new(&spans, None, parts, Arc::new(Names)));
        prop_assert!(places.is_sorted_by(|one, next| one < next));
        match error {
            Some(error) => prop_assert_eq!(error.code(), "EVENT_TIME_DISORDER"),
            // A part said to be empty is not opened; its pin would have told.
            None if world[output][part].is_empty() => {}
            None => prop_assert_eq!(places, sorted(&changed)),
        }
    }

    #[test]
    fn a_row_that_cannot_be_framed_ends_the_stream_at_the_same_event_however_it_is_read(
        world in worlds(),
        (one, other) in (readings(), readings()),
        pick in any::<prop::sample::Index>(),
    ) {
        let rows = sorted(&world);
        prop_assume!(!rows.is_empty());
        let bad = rows[pick.index(rows.len())];
        let part = PartId { output: bad.output, part: bad.part };
        let [one, other] = [one, other].map(|reading| {
            let spans = spans(&world, &untouched(&world), TimeWindow::default());
            let parts = Box::new(WorldParts::new(&world, reading).with_bad_row(part, bad.row));
            drain(&mut Merge::new(&spans, None, parts, Arc::new(Names)))
        });
        prop_assert_eq!(&one.0, &other.0);
        prop_assert_eq!(one.1.unwrap().code(), "PRIMARY_KEY_MISSING");
        // Of its part, every row before it left; of the stream, a prefix.
        let before = |place: &&Place| place.output == bad.output && place.part == bad.part;
        prop_assert_eq!(
            one.0.iter().filter(before).count(),
            rows.iter().filter(before).filter(|place| **place < bad).count()
        );
        prop_assert_eq!(&one.0[..], &rows[..one.0.len()]);
    }
}

#[test]
fn the_error_of_a_row_out_of_order_names_both_rows_and_both_times() {
    let indexed = vec![vec![vec![10, 20], vec![15]]];
    let found = vec![vec![vec![10, 5], vec![15]]];
    let spans = spans(&indexed, &[None], TimeWindow::default());
    let parts = Box::new(WorldParts::new(&found, Reading::default()));
    let (places, error) = drain(&mut Merge::new(&spans, None, parts, Arc::new(Names)));
    assert_eq!(places.len(), 1);
    let error = error.unwrap();
    assert_eq!(error.code(), "EVENT_TIME_DISORDER");
    for named in [
        "row 1 of part 0 of output 0",
        "row 0 of part 0 of output 0",
        "1970-01-01T00:00:00.000000Z",
        "time index",
    ] {
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn ten_thousand_parts_need_only_a_few_to_be_open() {
    // Each part overlaps with the next one by one row.
    let parts: Vec<Vec<i64>> = (0..10_000)
        .map(|part| vec![part * 10, part * 10 + 12])
        .collect();
    let world = vec![parts];
    let spans = spans(&world, &[None], TimeWindow::default());
    let parts = WorldParts::new(&world, Reading::default());
    let open = parts.open_count();
    let (places, error) = drain(&mut Merge::new(
        &spans,
        None,
        Box::new(parts),
        Arc::new(Names),
    ));
    assert!(error.is_none());
    assert_eq!(places, sorted(&world));
    assert!(open.most() <= 10, "{} parts were open at once", open.most());
}

#[test]
fn parts_that_are_done_or_outside_the_window_are_not_opened() {
    let world: World = vec![
        (0..100)
            .map(|part| vec![part * 10, part * 10 + 9])
            .collect(),
    ];
    let done = Place {
        time: 509,
        output: 0,
        part: 50,
        row: 1,
    }
    .position();
    let window = TimeWindow {
        from: None,
        to: Some(at(600)),
    };
    let parts: Vec<u32> = spans(&world, &[Some(done)], window)
        .iter()
        .map(|span| span.part.part)
        .collect();
    assert_eq!(parts, (51..60).collect::<Vec<_>>());
}

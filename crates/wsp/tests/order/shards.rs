//! Shards over files: together they are the whole, each key is in one of them and in order, and a
//! stream that is divided anew repeats nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::{IdTally, Shard, ShardBy};
use proptest::prelude::*;
use replay::{Division, DoneBefore, DoneThrough, Event, EventOrder, OrderMode, TimeWindow};

use crate::disk::{DiskWorld, Writing, key_of};
use crate::files::{worlds, writings};
use crate::world::{Place, World, number, sorted, untouched};

/// At most so many events of an order.
fn some(order: &mut dyn EventOrder, most: usize) -> Vec<Event> {
    let events = std::iter::from_fn(|| order.next().unwrap());
    events.take(most).collect()
}

fn places(events: &[Event]) -> Vec<Place> {
    events.iter().map(Place::of).collect()
}

fn key(place: &Place) -> String {
    let part = replay::PartId {
        output: place.output,
        part: place.part,
    };
    key_of(number(part, place.row))
}

fn shards(count: u32, by: ShardBy) -> impl Iterator<Item = Shard> {
    (0..count).map(move |index| Shard::new(index, count, by).unwrap())
}

fn tally<'a>(events: impl IntoIterator<Item = &'a Event>) -> IdTally {
    let mut tally = IdTally::default();
    events
        .into_iter()
        .for_each(|event| tally.count(event.id.as_bytes()));
    tally
}

/// How far each output is done behind some events.
fn done_behind(world: &World, events: &[Event]) -> Vec<DoneThrough> {
    let mut done = untouched(world);
    for event in events {
        done[event.output] = Some(event.position);
    }
    done
}

fn bys() -> impl Strategy<Value = ShardBy> {
    prop_oneof![3 => Just(ShardBy::Key), 1 => Just(ShardBy::EventId)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_shards_of_a_world_are_together_the_whole_and_each_key_is_in_one_and_in_order(
        world in worlds(),
        writing in writings(),
        keyed in any::<bool>(),
        count in 1u32..=9,
        by in bys(),
    ) {
        let disk = DiskWorld::write(&world, Writing { keyed, ..writing });
        let request = disk.request("");
        let whole = TimeWindow::default();
        let all = some(&mut disk.order(&request, &untouched(&world), whole), usize::MAX);
        let (mut union, mut sum) = (Vec::new(), IdTally::default());
        let mut shard_of_key: BTreeMap<String, u32> = BTreeMap::new();
        for shard in shards(count, by) {
            let done = untouched(&world);
            let mut order = disk.order_of(&request, (&done, whole), shard, None);
            let events = some(&mut order, usize::MAX);
            let in_order = places(&events);
            prop_assert!(in_order.is_sorted(), "shard {shard}");
            let mut as_written = places(&some(&mut disk.as_written_of(&request, shard, None), usize::MAX));
            as_written.sort_unstable();
            prop_assert_eq!(&as_written, &in_order, "shard {} as written", shard);
            if keyed && by == ShardBy::Key {
                for place in &in_order {
                    let first = *shard_of_key.entry(key(place)).or_insert(shard.index());
                    prop_assert_eq!(first, shard.index(), "a key is in two shards");
                }
            }
            sum.add(tally(&events));
            union.extend(in_order);
        }
        union.sort_unstable();
        prop_assert_eq!(union, sorted(&world));
        prop_assert_eq!(sum, tally(&all));
    }

    #[test]
    fn a_stream_that_is_divided_again_and_again_repeats_nothing_and_loses_nothing(
        world in worlds(),
        writing in writings(),
        counts in prop::collection::vec(1u32..=5, 2..4),
        cuts in prop::collection::vec(0usize..40, 20),
        by in bys(),
    ) {
        let disk = DiskWorld::write(&world, Writing { keyed: true, ..writing });
        let request = disk.request("");
        let mut sent = Vec::new();
        let mut divisions: Vec<Division> = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        for (turn, count) in counts.iter().enumerate() {
            let is_last = turn + 1 == counts.len();
            let before = DoneBefore::new(OrderMode::EventTime, divisions.clone());
            let mut done = Vec::new();
            for shard in shards(*count, by) {
                let most = if is_last { usize::MAX } else { cuts.next().unwrap() };
                // Killed once on the way: it goes on behind its cursors.
                let half = most.min(5);
                let go_on = |done: &[DoneThrough], most| {
                    let behind = (done, TimeWindow::default());
                    let mut order = disk.order_of(&request, behind, shard, Some(before.clone()));
                    some(&mut order, most)
                };
                let mut events = go_on(&untouched(&world), half);
                events.extend(go_on(&done_behind(&world, &events), most - half));
                done.push(done_behind(&world, &events));
                sent.extend(places(&events));
            }
            divisions.push(Division { by, done });
        }
        let distinct: BTreeSet<Place> = sent.iter().copied().collect();
        prop_assert_eq!(distinct.len(), sent.len(), "an event was repeated");
        sent.sort_unstable();
        prop_assert_eq!(sent, sorted(&world));
    }
}

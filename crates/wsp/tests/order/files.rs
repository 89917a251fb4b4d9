//! The event-time order over files: Parquet and JSON lines, indexed, sought and sorted.

use std::fs;
use std::sync::Arc;

use crate::disk::{DiskWorld, TimeForm, Writing};
use crate::world::{Place, World, at, done_of, drain, sorted, untouched};
use durable::simulated::FailingDisk;
use oracle_store::PartFormat;
use proptest::prelude::*;
use replay::SEEK_ROWS;
use replay::{Cause, Ending};
use replay::{DoneThrough, SortCache, TimeWindow};

const PARQUET: Writing = Writing {
    format: PartFormat::Parquet,
    time: TimeForm::MixedText,
    group_rows: 1_000,
    wide: false,
    keyed: false,
};

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let part = (prop::collection::vec(0i64..40, 1..30), any::<bool>()).prop_map(
        |(mut times, in_order)| {
            if in_order {
                times.sort_unstable();
            }
            times
        },
    );
    prop::collection::vec(prop::collection::vec(part, 1..5), 1..4)
}

pub(crate) fn writings() -> impl Strategy<Value = Writing> {
    let format = prop_oneof![Just(PartFormat::Parquet), Just(PartFormat::Jsonl)];
    let time = prop_oneof![Just(TimeForm::Timestamp), Just(TimeForm::MixedText)];
    (format, time, 1usize..20).prop_map(|(format, time, group_rows)| Writing {
        format,
        time,
        group_rows,
        wide: false,
        keyed: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_of_any_shape_leave_as_a_naive_sort_has_them(
        world in worlds(),
        writing in writings(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 3),
        from in prop::option::of(0i64..41),
        to in prop::option::of(0i64..41),
    ) {
        let disk = DiskWorld::write(&world, writing);
        let request = disk.request("");
        let whole = TimeWindow::default();
        let (places, error) = drain(&mut disk.order(&request, &untouched(&world), whole));
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(places, sorted(&world));

        let done = done_of(&world, &picks);
        let window = TimeWindow { from: from.map(at), to: to.map(at) };
        let (places, error) = drain(&mut disk.order(&request, &done, window));
        prop_assert!(error.is_none(), "{:?}", error);
        let wanted = |place: &Place| {
            !place.is_done(done[place.output])
                && from.is_none_or(|from| from <= place.time)
                && to.is_none_or(|to| place.time < to)
        };
        prop_assert_eq!(places, sorted(&world).into_iter().filter(wanted).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn unsorted_parts_leave_as_a_naive_sort_has_them_whatever_is_sorted_at_once(
        parts in prop::collection::vec(prop::collection::vec(0i64..400, 0..3_000), 1..4),
        writing in writings(),
        run_bytes in prop::sample::select(vec![1usize, 30_000, 120_000, 1 << 20]),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1),
    ) {
        let world: World = vec![parts];
        let mut disk = DiskWorld::write(&world, writing);
        disk.run_bytes = Some(run_bytes);
        let request = disk.request("");
        let whole = TimeWindow::default();
        let (places, error) = drain(&mut disk.order(&request, &[None], whole));
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(places, sorted(&world));

        // From the cache now.
        let done = done_of(&world, &picks);
        let (places, error) = drain(&mut disk.order(&request, &done, whole));
        prop_assert!(error.is_none(), "{:?}", error);
        let wanted = |place: &Place| !place.is_done(done[place.output]);
        prop_assert_eq!(places, sorted(&world).into_iter().filter(wanted).collect::<Vec<_>>());
    }
}

#[test]
fn more_runs_than_are_merged_at_once_are_merged_in_turns() {
    let times: Vec<i64> = (0..60_000).rev().collect();
    let world: World = vec![vec![times]];
    let mut disk = DiskWorld::write(&world, PARQUET);
    disk.run_bytes = Some(1);
    let mut order = disk.order(&disk.request(""), &[None], TimeWindow::default());
    let (places, error) = drain(&mut order);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(places, sorted(&world));
}

#[test]
fn a_full_disk_is_a_reason_and_what_was_begun_is_not_believed() {
    let times: Vec<i64> = (0..6_000).rev().collect();
    let world: World = vec![vec![times]];
    let mut disk = DiskWorld::write(&world, PARQUET);
    let failing = FailingDisk::default();
    let folder = disk.path("cache");
    disk.cache = Some(SortCache::new(
        Arc::new(failing.clone()),
        folder.clone(),
        1 << 30,
    ));
    disk.run_bytes = Some(100_000);
    let streamed = || drain(&mut disk.order(&disk.request(""), &[None], TimeWindow::default()));
    for taken in [0, 100, 50_000] {
        *failing.torn_after.lock().unwrap() = Some(taken);
        let (places, error) = streamed();
        let error = error.unwrap();
        assert!(places.is_empty());
        assert_eq!(error.code(), "SORT_CACHE_UNWRITABLE");
        assert!(error.to_string().contains("cache clear"), "{error}");
    }
    *failing.failing_syncs.lock().unwrap() = 1;
    assert_eq!(streamed().1.unwrap().code(), "SORT_CACHE_UNWRITABLE");
    let left = fs::read_dir(&folder).unwrap();
    let left = left.filter(|file| file.as_ref().unwrap().path().extension().unwrap() != "lock");
    assert_eq!(left.count(), 0);
    let (places, error) = streamed();
    assert!(error.is_none(), "{error:?}");
    assert_eq!(places, sorted(&world));
}

/// Two long parts in order and a short one that is not.
fn long_world() -> World {
    let rows = 3 * SEEK_ROWS as i64 + 100;
    vec![
        vec![
            (0..rows).map(|row| row / 3).collect(),
            (0..rows).map(|row| row / 2).collect(),
        ],
        vec![vec![900, 100, 4_000, 100]],
    ]
}

#[test]
fn a_resume_far_into_long_parts_gives_the_exact_suffix() {
    let world = long_world();
    let rows = sorted(&world);
    for writing in [
        PARQUET,
        Writing {
            format: PartFormat::Jsonl,
            ..PARQUET
        },
    ] {
        let disk = DiskWorld::write(&world, writing);
        let request = disk.request("");
        for done_rows in [1, 7_000, 12_289, rows.len() - 2, rows.len()] {
            let mut done = untouched(&world);
            for place in &rows[..done_rows] {
                done[place.output] = Some(place.position());
            }
            let (places, error) = drain(&mut disk.order(&request, &done, TimeWindow::default()));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(places, rows[done_rows..], "behind {done_rows} rows");
        }
    }
}

#[test]
fn what_is_known_is_not_read_again_and_what_changed_is() {
    let world: World = vec![vec![vec![1, 2, 3], vec![2, 9]]];
    let disk = DiskWorld::write(&world, PARQUET);
    let request = disk.request("");
    let survey = |done: &[DoneThrough]| {
        let mut source = disk.source(&request, done, TimeWindow::default()).unwrap();
        // Located, and then gone: whoever reads a part fails. The folder is moved and not the
        // part, since a rename changes the change time of what it moves.
        let folder = disk.path("root/data/o0");
        let aside = disk.path("aside");
        fs::rename(&folder, &aside).unwrap();
        let survey = source.survey(&Ending::default());
        fs::rename(&aside, &folder).unwrap();
        survey.map(|survey| survey.overlap().largest)
    };
    assert_eq!(survey(&[None]).unwrap_err().code(), "ORACLE_READ_FAILED");
    let mut source = disk
        .source(&request, &[None], TimeWindow::default())
        .unwrap();
    assert_eq!(
        source.survey(&Ending::default()).unwrap().overlap().largest,
        2
    );
    assert_eq!(survey(&[None]).unwrap(), 2);

    disk.part("root/data/o0/part-00000.parquet", 0, 0, &[10, 20], PARQUET);
    assert_eq!(survey(&[None]).unwrap_err().code(), "ORACLE_READ_FAILED");
    let mut source = disk
        .source(&request, &[None], TimeWindow::default())
        .unwrap();
    assert_eq!(
        source.survey(&Ending::default()).unwrap().overlap().largest,
        1
    );
}

#[test]
fn an_index_that_is_damaged_foreign_or_cannot_be_written_is_only_rebuilt() {
    let world: World = vec![vec![vec![1, 2, 3], vec![5, 4]]];
    let disk = DiskWorld::write(&world, PARQUET);
    let request = disk.request(&format!("time_index: {}", disk.path("index").display()));
    let streams = || {
        let (places, error) = drain(&mut disk.order(&request, &[None], TimeWindow::default()));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(places, sorted(&world));
    };
    streams();
    let folder = fs::read_dir(disk.path("index"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = folder.join("time_index.jsonl");
    let whole = fs::read_to_string(&file).unwrap();
    assert_eq!(whole.lines().count(), 3, "{whole}");
    for damaged in [
        whole.replace("\"rows\":3", "\"rows\":2"),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("\"version\":1", "\"version\":2"),
        String::new(),
    ] {
        fs::write(&file, damaged).unwrap();
        streams();
        assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    }
    fs::write(&file, [0xff]).unwrap();
    streams();
    // A file where the folder would be: nothing can be kept.
    fs::remove_dir_all(disk.path("index")).unwrap();
    fs::write(disk.path("index"), "").unwrap();
    streams();
}

#[test]
fn an_index_inside_the_engine_run_root_is_refused() {
    let disk = DiskWorld::write(&vec![vec![vec![1]]], PARQUET);
    for folder in ["root", "root/not/there/yet", "other/../root/index"] {
        fs::create_dir_all(disk.path("other")).unwrap();
        let request = disk.request(&format!("time_index: {}", disk.path(folder).display()));
        let error = disk
            .source(&request, &[None], TimeWindow::default())
            .unwrap_err();
        assert_eq!(error.code(), "PROFILE_INVALID", "{folder}");
    }
}

#[test]
fn a_disordered_part_may_be_refused_and_is_named_with_both_times() {
    let disk = DiskWorld::write(&vec![vec![vec![1, 5, 4_000, 2_000]]], PARQUET);
    let request = disk.request("on_disorder: refuse");
    let (places, error) = drain(&mut disk.order(&request, &[None], TimeWindow::default()));
    let error = error.unwrap();
    assert!(places.is_empty());
    assert_eq!(error.code(), "EVENT_TIME_DISORDER");
    for named in [
        "Row 3 of data/o0/part-00000.parquet (output o0)",
        "1970-01-01T00:00:00.000002Z",
        "row 2 at 1970-01-01T00:00:00.000004Z",
        "on_disorder: sort",
    ] {
        assert!(error.to_string().contains(named), "{error}");
    }
    // Once it is done it is nobody's concern.
    let done = Place {
        time: 4_000,
        output: 0,
        part: 0,
        row: 2,
    }
    .position();
    let (places, error) = drain(&mut disk.order(&request, &[Some(done)], TimeWindow::default()));
    assert!(places.is_empty() && error.is_none());
}

#[test]
fn what_does_not_fit_the_sort_cache_is_refused_before_its_first_event() {
    let times: Vec<i64> = (0..40_000).rev().collect();
    let world: World = vec![vec![times]];
    let disk = DiskWorld::write(&world, PARQUET);
    let streamed =
        |order: &str| drain(&mut disk.order(&disk.request(order), &[None], TimeWindow::default()));
    let (places, error) = streamed("sort_cache_mib: 1");
    let error = error.unwrap();
    assert!(places.is_empty());
    assert_eq!(error.code(), "SORT_CACHE_TOO_SMALL");
    assert!(
        error.to_string().contains("sort_cache_mib` (1 MiB)"),
        "{error}"
    );
    let (places, error) = streamed("sort_cache_mib: 16");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(places, sorted(&world));
}

#[test]
fn parts_that_overlap_beyond_the_memory_budget_are_refused() {
    let world: World = vec![(0..200).map(|_| vec![1, 2]).collect()];
    let disk = DiskWorld::write(&world, PARQUET);
    let request = disk.request("memory_budget_mib: 30");
    let mut source = disk
        .source(&request, &[None], TimeWindow::default())
        .unwrap();
    let survey = source.survey(&Ending::default()).unwrap();
    assert_eq!(
        (survey.overlap().parts, survey.overlap().largest),
        (200, 200)
    );
    let error = source.check(&survey).unwrap_err();
    assert_eq!(error.code(), "MEMORY_BUDGET_EXCEEDED");
    assert!(
        error.to_string().contains("200 of 200 parts overlap"),
        "{error}"
    );
}

#[test]
fn a_time_that_cannot_be_read_ends_the_stream_before_its_first_event() {
    let disk = DiskWorld::write(
        &vec![vec![vec![1, 2]]],
        Writing {
            format: PartFormat::Jsonl,
            ..PARQUET
        },
    );
    let lines =
        "{\"ts_utc\":\"2026-01-28T08:55:40Z\",\"number\":1}\n{\"ts_utc\":null,\"number\":2}\n";
    fs::write(disk.path("root/data/o0/part-00001.jsonl"), lines).unwrap();
    let request = disk.request("");
    let (places, error) = drain(&mut disk.order(&request, &[None], TimeWindow::default()));
    assert!(places.is_empty());
    let error = error.unwrap();
    assert_eq!(error.code(), "MISSING_EVENT_TIME");
    assert!(error.to_string().contains("part-00001.jsonl"), "{error}");
}

#[test]
fn a_bad_row_of_a_sorted_part_is_named_by_its_row_in_the_file() {
    let disk = DiskWorld::write(
        &vec![vec![vec![1]]],
        Writing {
            format: PartFormat::Jsonl,
            ..PARQUET
        },
    );
    let line = |second: u32, number: &str| {
        format!("{{\"ts_utc\":\"2026-01-28T08:55:{second:02}Z\",\"number\":{number}}}\n")
    };
    let lines = [
        line(40, "3"),
        line(30, "null"),
        line(20, "1"),
        line(10, "0"),
    ]
    .concat();
    fs::write(disk.path("root/data/o0/part-00000.jsonl"), lines).unwrap();
    let request = disk.request("");
    let mut order = disk.order(&request, &[None], TimeWindow::default());
    let mut rows = Vec::new();
    let error = loop {
        match replay::EventOrder::next(&mut order) {
            Ok(event) => rows.push(event.unwrap().position.row),
            Err(error) => break error,
        }
    };
    assert_eq!(rows, [3, 2]);
    assert_eq!(error.code(), "PRIMARY_KEY_MISSING");
    assert!(error.to_string().contains(", row 1,"), "{error}");
}

#[test]
fn a_stream_that_winds_down_stops_learning() {
    let disk = DiskWorld::write(&vec![vec![vec![1, 2]]], PARQUET);
    let mut source = disk
        .source(&disk.request(""), &[None], TimeWindow::default())
        .unwrap();
    let ending = Ending::default();
    ending.wind_down(Cause::Asked);
    assert_eq!(source.survey(&ending).unwrap_err().code(), "STOPPED");
}

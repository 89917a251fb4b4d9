//! Event times and spans of parts, and the rows of an output from a time on.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use model::EventTime;
use oracle_store::{OutputLocator, Part, PartSpan, Rows, WorldStore, open_rows_from, part_span};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::world::*;

const SECOND: i64 = 1_000_000_000;

/// A part whose rows have these times, and ids from 0, in row groups of four rows.
fn part(times: ArrayRef, statistics: EnabledStatistics) -> Vec<u8> {
    let ids = Int64Array::from_iter_values(0..times.len() as i64);
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("ts_utc", times)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(4))
        .set_statistics_enabled(statistics)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn at(nanos: i64) -> EventTime {
    EventTime::from_nanos(nanos.into()).unwrap()
}

/// An output whose Parquet parts are these.
async fn flows(parts: Vec<Vec<u8>>) -> (TestWorld, OutputLocator) {
    let named = parts.into_iter().enumerate();
    let named = named.map(|(n, bytes)| object(format!("{FLOWS}/part-{n:06}.parquet"), bytes));
    let receipt = object("run_receipt.json", receipt_json().to_string());
    let objects: Objects = named.chain([receipt]).collect();
    let world = TestWorld::on_disk(&objects).await;
    let output = world.locate("flows").await;
    (world, output)
}

async fn span_of(store: &WorldStore, part: &Part) -> PartSpan {
    let (store, part) = (store.clone(), part.clone());
    on_a_thread(move || part_span(&store, &part)).await.unwrap()
}

fn summary(span: PartSpan) -> (u64, Option<EventTime>, Option<EventTime>, u64) {
    (span.rows, span.first, span.last, span.rows_without_time)
}

#[tokio::test]
async fn a_span_is_the_same_whatever_the_type_of_the_times_and_whether_there_are_statistics() {
    // Not in order, over two row groups.
    let seconds = [5, 9, 7, 8, 6, 3];
    let of = |unit: i64| seconds.iter().map(move |second| second * unit);
    let zoned = seconds.map(|second| {
        // The text that sorts last is not the latest time.
        format!(
            "1970-01-01T0{}:00:0{second}+0{}:00",
            9 - second % 2,
            9 - second % 2
        )
    });
    let texts: StringArray = zoned.iter().map(Some).collect();
    let coded: DictionaryArray<Int32Type> = zoned.iter().map(String::as_str).collect();
    let columns: [ArrayRef; 7] = [
        Arc::new(TimestampSecondArray::from_iter_values(of(1))),
        Arc::new(TimestampMillisecondArray::from_iter_values(of(1_000))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(of(1_000_000)).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from_iter_values(of(SECOND))),
        Arc::new(TimestampNanosecondArray::from_iter_values(of(SECOND)).with_timezone("+02:00")),
        Arc::new(texts),
        Arc::new(coded),
    ];
    for statistics in [EnabledStatistics::None, EnabledStatistics::Page] {
        let parts = columns.iter().map(|times| part(times.clone(), statistics));
        let (world, output) = flows(parts.collect()).await;
        for (part, column) in output.parts.iter().zip(&columns) {
            let span = summary(span_of(&world.store, part).await);
            let wanted = (6, Some(at(3 * SECOND)), Some(at(9 * SECOND)), 0);
            assert_eq!(span, wanted, "{:?}", column.data_type());
        }
    }
}

#[tokio::test]
async fn a_span_keeps_nanoseconds_counts_rows_without_a_time_and_takes_a_grant_too() {
    let times = [Some(7), None, Some(1), Some(1_001)];
    let times = TimestampNanosecondArray::from_iter(times);
    let texts = StringArray::from(vec![Some("yesterday"), None]);
    let none = Int64Array::from(vec![1, 2, 3]);
    let parts = [Arc::new(times) as ArrayRef, Arc::new(texts), Arc::new(none)];
    let parts = parts.map(|times| part(times, EnabledStatistics::Page));
    let (world, output) = flows(parts.to_vec()).await;
    let wanted = [
        (4, Some(at(1)), Some(at(1_001)), 1),
        (2, None, None, 2),
        (3, None, None, 3),
    ];
    for (part, wanted) in output.parts.iter().zip(wanted) {
        let grant = granted(&world.store, part.output_id());
        let granted_part = part.clone();
        let by_grant = on_a_thread(move || part_span(&grant, &granted_part)).await;
        let span = span_of(&world.store, part).await;
        assert_eq!((span, summary(span)), (by_grant.unwrap(), wanted));
    }
}

#[tokio::test]
async fn lines_of_json_have_spans_and_rows_from_a_time_too() {
    on_each_backend(&small_world(), async |backend, world| {
        let lines = world.locate("lines").await;
        let span = span_of(&world.store, &lines.parts[0]).await;
        assert_eq!(summary(span), (5, None, None, 5), "{backend}");
        world
            .put(
                &format!("{LINES}/a.jsonl"),
                "{\"ts_utc\":\"1970-01-01T00:00:09Z\"}\n{\"ts_utc\":null}\n\
                 {\"ts_utc\":\"1970-01-01T00:00:03Z\"}\n{\"ts_utc\":\"1970-01-01T00:00:07Z\"}\n",
            )
            .await;
        let earlier = "{\"ts_utc\":\"1970-01-01T00:00:01Z\"}\n";
        world.put(&format!("{LINES}/b.jsonl"), earlier).await;
        let lines = world.locate("lines").await;
        let span = span_of(&world.store, &lines.parts[0]).await;
        let wanted = (4, Some(at(3 * SECOND)), Some(at(9 * SECOND)), 1);
        assert_eq!(summary(span), wanted, "{backend}");
        let got = rows_from(&world.store, &lines, at(7 * SECOND)).await;
        assert_eq!(got, [(0, vec![0]), (0, vec![3])], "{backend}");
    })
    .await;
}

/// The rows of an output from a time on: stretch by stretch, the part's number and the rows.
async fn rows_from(
    store: &WorldStore,
    output: &OutputLocator,
    from: EventTime,
) -> Vec<(usize, Vec<u64>)> {
    let (grant, output) = (granted(store, &output.output_id), output.clone());
    let read = move || {
        let number = |part: &Part| output.parts.iter().position(|known| known == part).unwrap();
        let rows = open_rows_from(&grant, &output, from).map(|rows| {
            let rows = rows.unwrap();
            let first = rows.batch.first_row;
            if let Rows::Arrow(columns) = &rows.batch.rows {
                // The ids are the row numbers.
                let ids = columns.column(0).as_any().downcast_ref::<Int64Array>();
                assert_eq!(ids.unwrap().value(0) as u64, first);
            }
            let count = rows.batch.rows.len() as u64;
            (number(&rows.part), (first..first + count).collect())
        });
        rows.collect()
    };
    on_a_thread(read).await
}

#[tokio::test]
async fn rows_from_a_time_are_those_at_it_and_later_part_by_part_in_file_order() {
    let times = |seconds: &[i64]| -> ArrayRef {
        let nanos = seconds.iter().map(|second| second * SECOND);
        Arc::new(TimestampNanosecondArray::from_iter_values(nanos))
    };
    let parts = [
        times(&[1, 2, 3]),
        times(&[4, 5, 5, 6, 7, 8]),
        times(&[9, 1, 5, 6, 4, 7]),
    ];
    let parts = parts.map(|times| part(times, EnabledStatistics::None));
    let (world, output) = flows(parts.to_vec()).await;
    let rows = async |second: i64| rows_from(&world.store, &output, at(second * SECOND)).await;
    // A batch of rows lies within a row group of four.
    let wanted: [(usize, Vec<u64>); 5] = [
        (1, vec![1, 2, 3]),
        (1, vec![4, 5]),
        (2, vec![0]),
        (2, vec![2, 3]),
        (2, vec![5]),
    ];
    assert_eq!(rows(5).await, wanted);
    assert_eq!(rows(9).await, [(2, vec![0])]);
    assert_eq!(rows(10).await, []);
    let all: usize = rows(0).await.iter().map(|(_, rows)| rows.len()).sum();
    assert_eq!(all, 15);
}

#[tokio::test]
async fn rows_of_another_output_than_the_granted_are_refused_once() {
    let world = TestWorld::on_disk(&small_world()).await;
    let flows = world.locate("flows").await;
    let lines = world.locate("lines").await;
    let grant = granted(&world.store, &lines.output_id);
    let refused = on_a_thread(move || {
        let mut rows = open_rows_from(&grant, &flows, at(0));
        let refused = rows.next().unwrap().unwrap_err();
        assert!(rows.next().is_none(), "after an error nothing comes");
        refused
    });
    assert_eq!(refused.await.code().as_str(), "READ_GRANT_MISMATCH");
}

#[tokio::test]
async fn a_part_of_which_no_row_has_a_time_is_refused_and_not_taken_for_empty() {
    let nulls = TimestampMicrosecondArray::new_null(3);
    let parts = vec![part(Arc::new(nulls), EnabledStatistics::None)];
    let (world, output) = flows(parts).await;
    let grant = granted(&world.store, &output.output_id);
    let refused = on_a_thread(move || {
        let mut rows = open_rows_from(&grant, &output, at(0));
        rows.next().unwrap().unwrap_err()
    });
    let refused = refused.await;
    assert_eq!(refused.code().as_str(), "ORACLE_READ_FAILED");
    let told = refused.to_string();
    assert!(
        told.contains("ts_utc") && told.contains("timed_by"),
        "{told}"
    );
}

//! Footers that state what cannot be: refused, whatever room or depth they ask for.

use oracle_store::{
    Error, Part, ReadMemory, ReadOptions, ReasonCode, WorldStore, footer, open_rows,
};

use crate::world::*;

/// A Parquet file of a footer alone.
fn file_of(footer: &[u8]) -> Vec<u8> {
    let length = (footer.len() as u32).to_le_bytes();
    [b"PAR1", footer, &length, b"PAR1"].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A footer of no rows: the root and groups of so many children inside each other, one
/// column, and a list of row groups that states so many.
fn footer_of(groups: &[u64], row_groups: u64) -> Vec<u8> {
    let mut bytes = [vec![0x15, 2, 0x19, 0xfc], varint(groups.len() as u64 + 1)].concat();
    for (depth, &children) in groups.iter().enumerate() {
        // All but the root are optional.
        let start: &[u8] = if depth == 0 {
            &[0x48]
        } else {
            &[0x35, 2, 0x18]
        };
        bytes.extend([start, &[1, b'g', 0x15], &varint(children << 1), &[0]].concat());
    }
    bytes.extend([0x15, 4, 0x25, 2, 0x18, 1, b'x', 0]);
    bytes.extend([&[0x16, 0, 0x19, 0xfc], &varint(row_groups)[..], &[0]].concat());
    bytes
}

/// Reads a part's footer, and its rows from the middle on.
async fn read(part: Vec<u8>, from_row: u64) -> Result<u64, Error> {
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    let store = world.store.clone();
    on_a_thread(move || {
        let part = &located.parts[0];
        footer(&store, part)?;
        let grant = granted(&store, &located.output_id);
        let options = ReadOptions {
            from_row,
            ..ReadOptions::default()
        };
        let mut rows = open_rows(&grant, part, &options)?;
        rows.try_fold(0, |sum, batch| Ok(sum + batch?.rows.len() as u64))
    })
    .await
}

#[tokio::test]
async fn a_footer_whose_groups_nest_without_end_is_refused() {
    let nested = |depth: usize| read(file_of(&footer_of(&vec![1; depth], 0)), 0);
    assert_eq!(nested(3).await.unwrap(), 0);
    assert_eq!(nested(100).await.unwrap(), 0);
    for depth in [101, 1_000, 5_000, 200_000] {
        let error = nested(depth).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        assert!(
            error.to_string().contains("nested deeper than 100"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_footer_that_states_more_than_it_has_is_refused() {
    let most = u64::from(i32::MAX as u32);
    for footer in [
        footer_of(&[most], 0),
        footer_of(&[1], most),
        footer_of(&[2], 0),
    ] {
        let error = read(file_of(&footer), 0).await.unwrap_err();
        assert_eq!(error.code(), ReasonCode::OracleReadFailed);
        assert!(error.to_string().contains("states more"), "{error}");
    }
}

#[tokio::test]
async fn a_footer_that_takes_more_memory_than_readers_may_hold_is_refused() {
    // Three million pairs of an empty key and no value.
    let mut footer = footer_of(&[1], 0);
    footer.truncate(footer.len() - 1);
    footer.extend([0x19, 0xfc]);
    footer.extend(varint(3_000_000));
    footer.extend([0x18, 0, 0].repeat(3_000_000));
    footer.push(0);
    let part = file_of(&footer);
    let world = TestWorld::on_disk(&[object("data/single.parquet", part)]).await;
    let located = world.locate("single").await;
    for (mib, fits) in [(100, false), (400, true)] {
        let store = world.store.clone().with_memory(ReadMemory::new(mib << 20));
        let part = located.parts[0].clone();
        match on_a_thread(move || footer_rows(&store, &part)).await {
            Ok(rows) => assert!(fits && rows == Some(0)),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.code(), ReasonCode::MemoryBudgetExceeded);
                assert!(error.to_string().contains("A footer takes"), "{error}");
            }
        }
    }
}

fn footer_rows(store: &WorldStore, part: &Part) -> Result<Option<u64>, Error> {
    Ok(footer(store, part)?.rows)
}

#[tokio::test]
async fn every_damaged_byte_of_a_footer_ends_in_rows_or_a_refusal() {
    let whole = parquet_part(0..200, 100);
    let rows = read(whole.clone(), 30).await.unwrap();
    let length = &whole[whole.len() - 8..whole.len() - 4];
    let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
    let footer = whole.len() - 8 - length..whole.len();
    let (mut refused, mut tried) = (0, 0);
    // Offset indexes lie right before the footer.
    for at in (footer.start - 400..footer.end).step_by(3) {
        for value in [0, 0x19, 0x7f, 0xfc, 0xff] {
            let mut part = whole.clone();
            part[at] = value;
            tried += 1;
            match read(part, 30).await {
                Ok(read) => assert!(read <= rows, "byte {at} as {value}: {read} rows"),
                Err(error) => {
                    assert_eq!(error.code(), ReasonCode::OracleReadFailed);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > tried / 4, "{refused} of {tried}");
}

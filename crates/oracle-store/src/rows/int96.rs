//! INT96 timestamps, held to their exact values.
//!
//! An INT96 is a Julian day and nanoseconds of it, which Arrow's reader turns into 64 bits of
//! the column's unit: it wraps what does not fit, and drops digits that a coarser unit does
//! not have. So the same rows are read once more in seconds, which cannot wrap, and where the
//! unit is not nanoseconds in those too. Both together give the exact time:
//!
//! ```text
//!  seconds  = days × 86 400 + nanos ÷ 10⁹, toward zero        |time − seconds × 10⁹| < 10⁹
//!  wrapped  = (days × 86 400 × 10⁹ + nanos) mod 2⁶⁴           time ≡ wrapped (mod 2⁶⁴)
//! ```
//! A row whose value is not that time is refused, and so is one that cannot be compared.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::schema::types::SchemaDescriptor;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// The Unix epoch as a Julian day.
const JULIAN_EPOCH: i128 = 2_440_588;
/// The first moment of Julian day 0; days before it have no INT96.
const FIRST_NANOS: i128 = -JULIAN_EPOCH * 86_400 * NANOS_PER_SECOND as i128;

/// Why rows with an INT96 column are refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: &'static str,
    /// The leaf of the Parquet schema, where it is known.
    pub(super) leaf: Option<usize>,
    /// The row within the batch, where the column is not nested.
    pub(super) row: Option<usize>,
}

const NOT_EXACT: &str = "An INT96 timestamp cannot be read exactly: it lies outside the years \
                         1677 to 2262, or its column's unit has not all its digits; write the \
                         column as INT64 timestamps";
const NOT_COMPARED: &str = "The part's INT96 columns cannot be compared with their exact values";

/// The leaf columns of some rows, each with its place in the Parquet schema.
pub(super) struct Leaves(Vec<(usize, ArrayRef)>);

impl Leaves {
    /// The leaves of rows that were read with some columns of so many leaves in all; none if
    /// the rows do not have just those.
    pub(super) fn of(
        rows: &RecordBatch,
        columns: &ProjectionMask,
        all: usize,
    ) -> Result<Self, Fault> {
        let places = (0..all).filter(|&leaf| columns.leaf_included(leaf));
        let places: Vec<usize> = places.collect();
        let leaves = leaves_of(rows);
        if places.len() != leaves.len() {
            return Err(Fault::unknown(None));
        }
        Ok(Self(places.into_iter().zip(leaves).collect()))
    }

    fn get(&self, leaf: usize) -> Result<&ArrayRef, Fault> {
        let at = self.0.binary_search_by_key(&leaf, |(place, _)| *place);
        at.map_or_else(|_| Err(Fault::unknown(Some(leaf))), |at| Ok(&self.0[at].1))
    }
}

impl Fault {
    /// What to say where exactness cannot be judged.
    pub(super) fn unknown(leaf: Option<usize>) -> Self {
        Self {
            what: NOT_COMPARED,
            leaf,
            row: None,
        }
    }
}

/// The whole top-level columns that some leaves are in: a part of a map alone is not read.
pub(super) fn columns_with(leaves: &[usize], schema: &SchemaDescriptor) -> ProjectionMask {
    let roots = leaves.iter().map(|&leaf| schema.get_column_root_idx(leaf));
    ProjectionMask::roots(schema, roots)
}

/// Refuses rows of which an INT96 leaf is not exactly what the part has, by the same rows
/// in seconds and in nanoseconds. Nanoseconds may be left out where all leaves are in those.
pub(super) fn check(
    int96: &[usize],
    rows: &Leaves,
    seconds: &Leaves,
    nanos: Option<&Leaves>,
    row_count: usize,
) -> Result<(), Fault> {
    for &leaf in int96 {
        let (values, seconds) = (rows.get(leaf)?, seconds.get(leaf)?);
        let nanos = nanos.unwrap_or(rows).get(leaf)?;
        let inexact = first_inexact(values, seconds, nanos);
        if let Some(at) = inexact.map_err(|NotComparable| Fault::unknown(Some(leaf)))? {
            return Err(Fault {
                what: NOT_EXACT,
                leaf: Some(leaf),
                row: (values.len() == row_count).then_some(at),
            });
        }
    }
    Ok(())
}

/// Columns that are no timestamps of the same rows.
struct NotComparable;

/// The first value that is not the exact time.
fn first_inexact(
    values: &ArrayRef,
    seconds: &ArrayRef,
    nanos: &ArrayRef,
) -> Result<Option<usize>, NotComparable> {
    let seconds = seconds.as_primitive_opt::<TimestampSecondType>();
    let nanos = nanos.as_primitive_opt::<TimestampNanosecondType>();
    let (Some(seconds), Some(nanos), Some((ticks, nanos_per_tick))) =
        (seconds, nanos, ticks_of(values))
    else {
        return Err(NotComparable);
    };
    let are_alike = |nulls| seconds.logical_nulls() == nulls;
    if ticks.len() != seconds.len()
        || nanos.len() != seconds.len()
        || !are_alike(values.logical_nulls())
        || !are_alike(nanos.logical_nulls())
    {
        return Err(NotComparable);
    }
    let is_inexact = |&at: &usize| {
        let exact = exact_nanos(seconds.value(at), nanos.value(at));
        let shown = i128::from(ticks[at]) * i128::from(nanos_per_tick);
        exact != shown || exact < FIRST_NANOS
    };
    Ok((0..seconds.len()).find(|at| seconds.is_valid(*at) && is_inexact(at)))
}

/// The time whose whole seconds and whose wrapped nanoseconds these are.
fn exact_nanos(seconds: i64, wrapped: i64) -> i128 {
    let near = i128::from(seconds) * i128::from(NANOS_PER_SECOND);
    near + i128::from(wrapped.wrapping_sub(near as i64))
}

/// The values of a timestamp column, and the nanoseconds of its unit.
fn ticks_of(values: &ArrayRef) -> Option<(&[i64], i64)> {
    let DataType::Timestamp(unit, _) = values.data_type() else {
        return None;
    };
    Some(match unit {
        TimeUnit::Second => (
            values.as_primitive::<TimestampSecondType>().values(),
            NANOS_PER_SECOND,
        ),
        TimeUnit::Millisecond => (
            values.as_primitive::<TimestampMillisecondType>().values(),
            1_000_000,
        ),
        TimeUnit::Microsecond => (
            values.as_primitive::<TimestampMicrosecondType>().values(),
            1_000,
        ),
        TimeUnit::Nanosecond => (values.as_primitive::<TimestampNanosecondType>().values(), 1),
    })
}

/// The leaf columns of a batch, in the order of its schema.
fn leaves_of(batch: &RecordBatch) -> Vec<ArrayRef> {
    let mut leaves = Vec::new();
    for column in batch.columns() {
        add_leaves(column, &mut leaves);
    }
    leaves
}

fn add_leaves(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.for_each(|column| add_leaves(column, leaves));
        }
        DataType::List(_) => add_leaves(array.as_list::<i32>().values(), leaves),
        DataType::LargeList(_) => add_leaves(array.as_list::<i64>().values(), leaves),
        DataType::ListView(_) => add_leaves(array.as_list_view::<i32>().values(), leaves),
        DataType::LargeListView(_) => add_leaves(array.as_list_view::<i64>().values(), leaves),
        DataType::FixedSizeList(..) => add_leaves(array.as_fixed_size_list().values(), leaves),
        DataType::Map(..) => {
            let entries = array.as_map().entries().columns().iter();
            entries.for_each(|column| add_leaves(column, leaves));
        }
        _ => leaves.push(array.clone()),
    }
}

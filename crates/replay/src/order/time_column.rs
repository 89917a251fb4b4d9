//! Whether the rows of a part have event times at all, by its footer or first line.

use oracle_store::{Part, PartFooter, ReadOptions, WorldStore, read_column};

use crate::Error;

/// Refuses a part whose rows have no event times: a Parquet part without the column, or JSON
/// lines whose first one has none. Anything else that is wrong with times is found where they are
/// read. Blocks.
///
/// # Errors
/// `MISSING_EVENT_TIME`.
pub fn check_time_column(
    store: &WorldStore,
    part: &Part,
    footer: &PartFooter,
) -> Result<(), Error> {
    let name = part.time_column();
    if footer.rows == Some(0) {
        return Ok(());
    }
    let has_column = match &footer.schema {
        Some(schema) => schema.column_with_name(name).is_some(),
        None => has_time_in_first_line(store, part),
    };
    if has_column {
        return Ok(());
    }
    let what = "The event time is not among the row's columns";
    let missing = envelope::Error::new(envelope::ReasonCode::MissingEventTime, what);
    let missing = missing.object(part.path()).row(0).field(name);
    Err(missing.into())
}

/// Whether the first line of a part has an event time, or something else is wrong with it.
fn has_time_in_first_line(store: &WorldStore, part: &Part) -> bool {
    let options = ReadOptions {
        from_row: 0,
        batch_rows: 1,
    };
    let first = read_column(store, part, part.time_column(), &options);
    let first = first.ok().and_then(|mut values| values.next());
    let Some(Ok((row, values))) = first else {
        return true;
    };
    let times = envelope::event_times(part.path(), row, part.time_column(), &values);
    times.err().is_none_or(|bad| {
        let error: envelope::Error = bad.into();
        error.code() != envelope::ReasonCode::MissingEventTime
    })
}

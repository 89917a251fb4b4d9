//! Rows of the tables: how keys are locked and read, and how records and leases are written.
//!
//! Every statement takes all keys of an operation at once, so a save costs the same number of
//! round trips for one output as for forty.

use std::collections::BTreeMap;

use deadpool_postgres::{GenericClient, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql};

use super::fault::failed;
use crate::cursor::RowSource;
use crate::error::{Error, corrupt, unsupported};
use crate::key::{CursorKey, PackKey};
use crate::lease::{Holder, LeaseRecord, SessionId};
use crate::record::{FORMAT_VERSION, ForeignWire, WITHOUT_TALLIES, Wire, is_known, json};
use crate::slots::StoredRecord;

/// Lines of history kept a key, at least.
const HISTORY_LINES: i64 = 1000;
/// Saves of a key between two trims of its history.
const TRIM_EVERY: u64 = 100;

const OUR_COLUMNS: &str = "c.checksum, c.fence, c.format_version, c.order_mode, c.plan_digest,
    c.platform_run_id, c.sequence, c.sort_time_ns,
    to_jsonb(c) ->> 'last_part' AS last_part, to_jsonb(c) ->> 'source' AS source,
    to_jsonb(c) ->> 'done' AS done";

/// What stands for them in the existing producer's table.
const NO_COLUMNS: &str = "NULL::text AS checksum, NULL::bigint AS fence,
    NULL::integer AS format_version, NULL::text AS order_mode, NULL::text AS plan_digest,
    NULL::text AS platform_run_id, NULL::bigint AS sequence, NULL::text AS sort_time_ns,
    NULL::text AS last_part, NULL::text AS source, NULL::text AS done";

/// What a statement takes.
type Parameters<'p> = [&'p (dyn ToSql + Sync)];

/// Runs a statement, prepared once a connection.
async fn query(
    client: &impl GenericClient,
    operation: &'static str,
    place: &str,
    statement: &str,
    parameters: &Parameters<'_>,
) -> Result<Vec<Row>, Error> {
    let fault = |error| failed(operation, place, error);
    let statement = client.prepare_cached(statement).await.map_err(fault)?;
    client.query(&statement, parameters).await.map_err(fault)
}

/// The same for a statement that gives no rows; the number of rows it changed.
async fn execute(
    client: &impl GenericClient,
    operation: &'static str,
    place: &str,
    statement: &str,
    parameters: &Parameters<'_>,
) -> Result<u64, Error> {
    let fault = |error| failed(operation, place, error);
    let statement = client.prepare_cached(statement).await.map_err(fault)?;
    client.execute(&statement, parameters).await.map_err(fault)
}

/// A place that names a row.
pub(super) fn row_place(place: &str, key: &CursorKey) -> String {
    format!("{place} table wsp_checkpoint row {key}")
}

/// Keys as the two arrays that the statements take.
pub(super) struct KeyArrays<'a> {
    packs: Vec<&'a str>,
    outputs: Vec<&'a str>,
}

impl<'a> KeyArrays<'a> {
    pub(super) fn of(keys: impl IntoIterator<Item = &'a CursorKey>) -> Self {
        let keys = keys.into_iter();
        let (packs, outputs) = keys
            .map(|key| (key.pack_key().as_str(), key.output_id().as_str()))
            .unzip();
        Self { packs, outputs }
    }
}

/// Reads the record of a row; `None` if the key has none.
fn read_record(row: &Row, key: &CursorKey, place: &str) -> Option<StoredRecord> {
    let place = row_place(place, key);
    let text = match value::<String>(row, "whole") {
        Ok(Some(text)) => text,
        Ok(None) => return None,
        Err(fault) => return Some(damaged(&place, fault, String::new())),
    };
    Some(match read_whole(row, key, &place) {
        Ok(stored) => stored.unwrap_or_else(|version| StoredRecord {
            record: Err(unsupported(&place, version, FORMAT_VERSION)),
            text,
        }),
        Err(fault) => damaged(&place, fault, text),
    })
}

fn damaged(place: &str, fault: String, text: String) -> StoredRecord {
    StoredRecord {
        record: Err(corrupt(place, fault)),
        text,
    }
}

/// The inner error is a format version that this release does not know; the outer one says what is
/// wrong with the row.
fn read_whole(
    row: &Row,
    key: &CursorKey,
    place: &str,
) -> Result<Result<StoredRecord, i32>, String> {
    let index: i64 = present(row, "last_row_index")?;
    let foreign = ForeignWire {
        last_file: present(row, "last_file")?,
        last_row_index: u64::try_from(index)
            .map_err(|_| "its `last_row_index` is negative".to_owned())?,
        last_ts_utc: value(row, "last_ts_utc")?,
        output_id: key.output_id().to_string(),
        pack_key: key.pack_key().as_str().to_owned(),
        // `infinity` has no text, and is NULL here.
        updated_at_utc: present(row, "updated_at_utc")?,
    };
    match value::<i32>(row, "format_version")? {
        Some(version) if !u32::try_from(version).is_ok_and(is_known) => Ok(Err(version)),
        Some(version) => {
            let wire = our_columns(row, version as u32, foreign)?;
            Ok(Ok(StoredRecord {
                text: wire.to_json(),
                record: wire.into_record(key, place),
            }))
        }
        None if has_our_columns(row)? => Err("it has lost its `format_version`".to_owned()),
        None => Ok(Ok(StoredRecord {
            text: json(&foreign),
            record: foreign.into_record(key, place),
        })),
    }
}

/// The value of a column, `None` for NULL; an error in words if it is of another type.
fn value<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<Option<T>, String> {
    row.try_get(column)
        .map_err(|error| format!("its `{column}` is no such value ({error})"))
}

/// The same of a column that must not be NULL.
fn present<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T, String> {
    value(row, column)?.ok_or_else(|| format!("its `{column}` is NULL or no finite value"))
}

fn has_our_columns(row: &Row) -> Result<bool, String> {
    for column in ["checksum", "order_mode", "plan_digest", "platform_run_id"] {
        if value::<String>(row, column)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn our_columns(row: &Row, format_version: u32, producer: ForeignWire) -> Result<Wire, String> {
    let number = |column| {
        u64::try_from(present::<i64>(row, column)?)
            .map_err(|_| format!("its `{column}` is negative"))
    };
    let order: String = present(row, "order_mode")?;
    // An older release leaves what it finds in columns that it does not know.
    let newer_from = |first, column| {
        if format_version >= first {
            value::<String>(row, column)
        } else {
            Ok(None)
        }
    };
    let newer = |column| newer_from(WITHOUT_TALLIES, column);
    let source = newer("source")?.map(|source| source.parse());
    let done = newer_from(FORMAT_VERSION, "done")?;
    let done = done.map(|done| serde_json::from_str(&done)).transpose();
    Ok(Wire {
        checksum: present(row, "checksum")?,
        done: done.map_err(|fault| format!("its `done` is no tally ({fault})"))?,
        fence: number("fence")?,
        format_version,
        last_file: producer.last_file,
        last_part: newer("last_part")?,
        last_row_index: producer.last_row_index,
        last_ts_utc: producer.last_ts_utc,
        order: order
            .parse()
            .map_err(|()| format!("its `order_mode` {order:?} is unknown"))?,
        output_id: producer.output_id,
        pack_key: producer.pack_key,
        plan_digest: present(row, "plan_digest")?,
        platform_run_id: present(row, "platform_run_id")?,
        sequence: number("sequence")?,
        sort_time_ns: value(row, "sort_time_ns")?,
        source: source
            .transpose()
            .map_err(|()| "its `source` is unknown".to_owned())?,
        updated_at_utc: producer.updated_at_utc,
    })
}

/// The records of keys, in their order. `is_old` reads the existing producer's table.
pub(super) async fn read_records(
    client: &impl GenericClient,
    keys: &[&CursorKey],
    is_old: bool,
    place: &str,
) -> Result<Vec<Option<StoredRecord>>, Error> {
    let ours = if is_old { NO_COLUMNS } else { OUR_COLUMNS };
    let select = format!(
        "SELECT c.last_file, c.last_row_index::bigint AS last_row_index, c.last_ts_utc, {ours},
            to_char(c.updated_at_utc AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
                AS updated_at_utc,
            to_jsonb(c)::text AS whole
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (pack_key, output_id, place)
        LEFT JOIN wsp_checkpoint c USING (pack_key, output_id) ORDER BY place"
    );
    let arrays = KeyArrays::of(keys.iter().copied());
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs];
    let rows = query(client, "read the cursors", place, &select, parameters).await?;
    let pairs = rows.iter().zip(keys);
    Ok(pairs
        .map(|(row, key)| read_record(row, key, place))
        .collect())
}

/// A stored lease, and what the server says about its holder.
pub(super) struct StoredLease {
    pub(super) row: LeaseRecord,
    pub(super) is_expired: bool,
    /// The session, and the life of the server in which its advisory lock was taken; `None` of an
    /// older release.
    lock_taken_in: Option<String>,
}

/// The life of the server that a connection leads to, in which advisory locks outlast everything
/// but their own connections. It begins when the server starts, no two servers in the same
/// microsecond; and anew when it starts over after one of its processes crashed, which the start
/// of its statistics tells.
pub(super) const SERVER_LIFE: &str = "concat_ws(' ',
    to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'),
    (SELECT to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')
        FROM pg_stat_archiver))";

/// How a lease names the life of the server in which its session's advisory lock was taken. An
/// older release leaves what it finds there, so the session is named too.
fn lock_taken_in(session: &SessionId, server_life: &str) -> String {
    format!("{} {server_life}", session.0)
}

/// The leases of keys that have one, locked in the order of the keys if `lock`.
pub(super) async fn read_leases(
    client: &impl GenericClient,
    keys: &[&CursorKey],
    lock: bool,
    place: &str,
) -> Result<BTreeMap<CursorKey, StoredLease>, Error> {
    let suffix = if lock { "FOR NO KEY UPDATE OF l" } else { "" };
    let select = format!(
        "SELECT k.place, l.fence, l.session, l.holder_name, l.holder_host, l.holder_pid,
            l.period_ms, l.released, l.renewals,
            to_char(l.renewed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
                AS renewed_at,
            l.expires_at <= clock_timestamp() AS is_expired,
            to_jsonb(l)->>'lock_taken_in' AS lock_taken_in
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (pack_key, output_id, place)
        JOIN wsp_checkpoint_lease l USING (pack_key, output_id) ORDER BY place {suffix}"
    );
    let arrays = KeyArrays::of(keys.iter().copied());
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs];
    let rows = query(client, "read the leases", place, &select, parameters).await?;
    let leases = rows.iter().map(|row| {
        let position: i64 = present(row, "place").map_err(|fault| corrupt(place, fault))?;
        let key = usize::try_from(position - 1)
            .ok()
            .and_then(|at| keys.get(at));
        let key = *key.ok_or_else(|| corrupt(place, "the server counts other keys"))?;
        let lease = read_lease(row).map_err(|fault| {
            let place = format!("{place} table wsp_checkpoint_lease row {key}");
            corrupt(&place, fault)
        });
        Ok((key.clone(), lease?))
    });
    leases.collect()
}

fn read_lease(row: &Row) -> Result<StoredLease, String> {
    let number = |column| {
        u64::try_from(present::<i64>(row, column)?)
            .map_err(|_| format!("its `{column}` is negative"))
    };
    let row_of = LeaseRecord {
        fence: number("fence")?,
        holder: Holder {
            name: present(row, "holder_name")?,
            host: present(row, "holder_host")?,
            pid: number("holder_pid")? as u32,
        },
        period_ms: number("period_ms")?,
        released: present(row, "released")?,
        renewals: number("renewals")?,
        renewed_at_utc: present(row, "renewed_at")?,
        session: SessionId(present(row, "session")?),
    };
    Ok(StoredLease {
        row: row_of,
        is_expired: present(row, "is_expired")?,
        lock_taken_in: value(row, "lock_taken_in")?,
    })
}

/// Makes sure that every key has a lease row to lock.
pub(super) async fn ensure_leases(
    change: &Transaction<'_>,
    keys: &[CursorKey],
    place: &str,
) -> Result<(), Error> {
    let arrays = KeyArrays::of(keys);
    let insert = "INSERT INTO wsp_checkpoint_lease
        SELECT p, o, 0, '', '', '', 0, 0, true, 0, 'epoch', 'epoch'
        FROM unnest($1::text[], $2::text[]) AS k (p, o) ON CONFLICT DO NOTHING";
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs];
    execute(change, "take the leases", place, insert, parameters).await?;
    Ok(())
}

/// Writes leases that are taken, all of one session. `server_life` is that of the server in which
/// the session's advisory lock was taken.
pub(super) async fn take_leases(
    change: &Transaction<'_>,
    leases: &BTreeMap<CursorKey, LeaseRecord>,
    server_life: &str,
    place: &str,
) -> Result<(), Error> {
    let Some(LeaseRecord {
        session,
        holder,
        period_ms,
        ..
    }) = leases.values().next()
    else {
        return Ok(());
    };
    let arrays = KeyArrays::of(leases.keys());
    let fences: Vec<i64> = leases.values().map(|lease| lease.fence as i64).collect();
    let update = "UPDATE wsp_checkpoint_lease l
        SET fence = t.fence, session = $4, holder_name = $5, holder_host = $6, holder_pid = $7,
            period_ms = $8::double precision, released = false, renewals = 0,
            renewed_at = clock_timestamp(),
            expires_at = clock_timestamp() + $8::double precision * interval '1 millisecond',
            lock_taken_in = $9
        FROM unnest($1::text[], $2::text[], $3::bigint[]) AS t (pack_key, output_id, fence)
        WHERE (l.pack_key, l.output_id) = (t.pack_key, t.output_id)";
    let parameters: &Parameters<'_> = &[
        &arrays.packs,
        &arrays.outputs,
        &fences,
        &session.0,
        &holder.name,
        &holder.host,
        &i64::from(holder.pid),
        &(*period_ms as f64),
        &lock_taken_in(session, server_life),
    ];
    execute(change, "take the leases", place, update, parameters).await?;
    Ok(())
}

/// The leases that are still this session's.
const OF_SESSION: &str = "FROM unnest($1::text[], $2::text[]) AS k (pack_key, output_id)
    WHERE (l.pack_key, l.output_id) = (k.pack_key, k.output_id)
        AND l.session = $3 AND NOT l.released";

/// Starts the period of this session's leases anew. `server_life` is that of the server in which
/// the session's advisory lock was taken.
pub(super) async fn renew_leases(
    client: &impl GenericClient,
    session: &SessionId,
    keys: impl Iterator<Item = &CursorKey>,
    server_life: &str,
    place: &str,
) -> Result<(), Error> {
    let arrays = KeyArrays::of(keys);
    let update = format!(
        "UPDATE wsp_checkpoint_lease l
        SET renewals = renewals + 1, renewed_at = clock_timestamp(),
            expires_at = clock_timestamp() + period_ms * interval '1 millisecond',
            lock_taken_in = $4
        {OF_SESSION}"
    );
    let lock = lock_taken_in(session, server_life);
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs, &session.0, &lock];
    execute(client, "renew the leases", place, &update, parameters).await?;
    Ok(())
}

/// Gives this session's leases back.
pub(super) async fn release_leases(
    client: &impl GenericClient,
    session: &SessionId,
    keys: impl Iterator<Item = &CursorKey>,
    place: &str,
) -> Result<(), Error> {
    let arrays = KeyArrays::of(keys);
    let update = format!("UPDATE wsp_checkpoint_lease l SET released = true {OF_SESSION}");
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs, &session.0];
    execute(client, "release the leases", place, &update, parameters).await?;
    Ok(())
}

/// Writes records where the lease is still the one shown and the record the one that was read.
const SAVE: &str = "
INSERT INTO wsp_checkpoint AS c (pack_key, output_id, last_file, last_row_index, last_ts_utc,
    updated_at_utc, checksum, fence, format_version, order_mode, plan_digest, platform_run_id,
    sequence, sort_time_ns, last_part, source, done)
SELECT pack_key, output_id, r.last_file, r.last_row_index, r.last_ts_utc,
    r.updated_at_utc::timestamptz, r.checksum, fence, 3, r.order_mode, r.plan_digest,
    r.platform_run_id, r.sequence, r.sort_time_ns, r.last_part, r.source, r.done
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[],
        $8::bigint[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[],
        $15::text[], $16::text[], $17::text[])
    AS r (pack_key, output_id, last_file, last_row_index, last_ts_utc, updated_at_utc, checksum,
        fence, order_mode, plan_digest, platform_run_id, sequence, sort_time_ns, last_part, source,
        done)
JOIN wsp_checkpoint_lease l USING (pack_key, output_id, fence)
WHERE l.session = $14 AND NOT l.released
ON CONFLICT (pack_key, output_id) DO UPDATE SET
    last_file = excluded.last_file, last_row_index = excluded.last_row_index,
    last_ts_utc = excluded.last_ts_utc, updated_at_utc = excluded.updated_at_utc,
    checksum = excluded.checksum, fence = excluded.fence,
    format_version = excluded.format_version, order_mode = excluded.order_mode,
    plan_digest = excluded.plan_digest, platform_run_id = excluded.platform_run_id,
    sequence = excluded.sequence, sort_time_ns = excluded.sort_time_ns,
    last_part = excluded.last_part, source = excluded.source, done = excluded.done
WHERE coalesce(c.sequence, 0) = excluded.sequence - 1
RETURNING c.pack_key, c.output_id, to_jsonb(c)::text AS whole, c.xmax = 0 AS is_new";

/// The rows as a save left them.
#[derive(Default)]
pub(super) struct Saved {
    pub(super) rows: Vec<WholeRow>,
    /// The keys that had no row before.
    pub(super) new: Vec<CursorKey>,
}

/// Writes the records with their lines of history.
pub(super) async fn write_records(
    change: &Transaction<'_>,
    session: &SessionId,
    wires: &[(CursorKey, Wire)],
    place: &str,
) -> Result<Saved, Error> {
    fn column<'w, T>(wires: &'w [(CursorKey, Wire)], of: impl Fn(&'w Wire) -> T) -> Vec<T> {
        wires.iter().map(|(_, wire)| of(wire)).collect()
    }
    let parameters: &Parameters<'_> = &[
        &column(wires, |w| w.pack_key.as_str()),
        &column(wires, |w| w.output_id.as_str()),
        &column(wires, |w| w.last_file.as_str()),
        &column(wires, |w| w.last_row_index as i64),
        &column(wires, |w| w.last_ts_utc.as_deref()),
        &column(wires, |w| w.updated_at_utc.as_str()),
        &column(wires, |w| w.checksum.as_str()),
        &column(wires, |w| w.fence as i64),
        &column(wires, |w| w.order.as_str()),
        &column(wires, |w| w.plan_digest.as_str()),
        &column(wires, |w| w.platform_run_id.as_str()),
        &column(wires, |w| w.sequence as i64),
        &column(wires, |w| w.sort_time_ns.as_deref()),
        &session.0,
        &column(wires, |w| w.last_part.as_deref()),
        &column(wires, |w| w.source.map(RowSource::as_str)),
        &column(wires, |w| w.done.map(|done| json(&done))),
    ];
    let lines = wires
        .iter()
        .map(|(key, wire)| (key, wire.to_json()))
        .collect::<Vec<_>>();
    // Both go out at once.
    let (written, ()) = tokio::try_join!(
        query(change, "save the cursors", place, SAVE, parameters),
        remember(change, &lines, place),
    )?;
    for (key, _) in wires
        .iter()
        .filter(|(_, wire)| wire.sequence.is_multiple_of(TRIM_EVERY))
    {
        trim(change, key, place).await?;
    }
    let mut saved = Saved::default();
    for row in &written {
        let (key, whole) = whole_row(row, place)?;
        if present(row, "is_new").map_err(|fault| corrupt(place, fault))? {
            saved.new.push(key.clone());
        }
        saved.rows.push((key, whole));
    }
    Ok(saved)
}

/// A row of `wsp_checkpoint` as the JSON of all of its columns, under its key.
pub(super) type WholeRow = (CursorKey, String);

fn whole_row(row: &Row, place: &str) -> Result<WholeRow, Error> {
    let damaged = |fault| corrupt(place, fault);
    let text = |column| present::<String>(row, column).map_err(damaged);
    let pack_key =
        PackKey::parse(&text("pack_key")?).map_err(|_| corrupt(place, "its `pack_key` is none"))?;
    let key = CursorKey::new(pack_key, text("output_id")?)?;
    Ok((key, text("whole")?))
}

/// The rows of keys that have one, whole.
pub(super) async fn whole_rows(
    client: &impl GenericClient,
    keys: &[CursorKey],
    place: &str,
) -> Result<Vec<WholeRow>, Error> {
    let select = "SELECT pack_key, output_id, to_jsonb(c)::text AS whole
        FROM unnest($1::text[], $2::text[]) AS k (pack_key, output_id)
        JOIN wsp_checkpoint c USING (pack_key, output_id)";
    let arrays = KeyArrays::of(keys);
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs];
    let rows = query(client, "read the cursors", place, select, parameters).await?;
    rows.iter().map(|row| whole_row(row, place)).collect()
}

/// Writes whole rows into a table that has none of them.
pub(super) async fn put_back(
    change: &Transaction<'_>,
    rows: &[String],
    place: &str,
) -> Result<(), Error> {
    let insert = "INSERT INTO wsp_checkpoint
        SELECT c.* FROM unnest($1::text[]) AS k (whole),
            jsonb_populate_record(NULL::wsp_checkpoint, k.whole::jsonb) AS c";
    let operation = "put the cursors back";
    execute(change, operation, place, insert, &[&rows]).await?;
    Ok(())
}

/// Adds lines of history.
pub(super) async fn remember(
    change: &Transaction<'_>,
    lines: &[(&CursorKey, impl AsRef<str>)],
    place: &str,
) -> Result<(), Error> {
    let arrays = KeyArrays::of(lines.iter().map(|(key, _)| *key));
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_ref()).collect();
    let insert = "INSERT INTO wsp_checkpoint_history (pack_key, output_id, line)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[])";
    let parameters: &Parameters<'_> = &[&arrays.packs, &arrays.outputs, &lines];
    execute(change, "write the history", place, insert, parameters).await?;
    Ok(())
}

async fn trim(change: &Transaction<'_>, key: &CursorKey, place: &str) -> Result<(), Error> {
    let delete = "DELETE FROM wsp_checkpoint_history
        WHERE pack_key = $1 AND output_id = $2 AND entry <= (
            SELECT entry FROM wsp_checkpoint_history WHERE pack_key = $1 AND output_id = $2
            ORDER BY entry DESC OFFSET $3 LIMIT 1)";
    let (pack_key, output_id) = (key.pack_key().as_str(), key.output_id().as_str());
    let parameters: &Parameters<'_> = &[&pack_key, &output_id, &HISTORY_LINES];
    execute(change, "trim the history", place, delete, parameters).await?;
    Ok(())
}

/// The newest lines of a key, newest first.
pub(super) async fn read_history(
    client: &impl GenericClient,
    key: &CursorKey,
    limit: usize,
    place: &str,
) -> Result<Vec<String>, Error> {
    let select = "SELECT line FROM wsp_checkpoint_history
        WHERE pack_key = $1 AND output_id = $2 ORDER BY entry DESC LIMIT $3";
    let (pack_key, output_id) = (key.pack_key().as_str(), key.output_id().as_str());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let parameters: &Parameters<'_> = &[&pack_key, &output_id, &limit];
    let rows = query(client, "read the history", place, select, parameters).await?;
    // A line that is none is left out, as one that cannot be parsed is.
    let lines = rows.iter().filter_map(|row| row.try_get(0).ok());
    Ok(lines.collect())
}

/// Gives a record up.
pub(super) async fn delete_record(
    change: &Transaction<'_>,
    key: &CursorKey,
    place: &str,
) -> Result<(), Error> {
    let delete = "DELETE FROM wsp_checkpoint WHERE pack_key = $1 AND output_id = $2";
    let (pack_key, output_id) = (key.pack_key().as_str(), key.output_id().as_str());
    execute(
        change,
        "reset the cursor",
        place,
        delete,
        &[&pack_key, &output_id],
    )
    .await?;
    Ok(())
}

/// Whether a lease's holder lives, by its advisory lock; `None` where the lock would not be there
/// if it did: after a restart, which drops all locks, and on a standby, which has none of its
/// primary's. Asking disturbs no one else who asks.
pub(super) async fn is_alive(
    client: &impl GenericClient,
    lease: &StoredLease,
    place: &str,
) -> Result<Option<bool>, Error> {
    let operation = "look at the holder's lock";
    let probe = format!("SELECT pg_try_advisory_xact_lock_shared($1), {SERVER_LIFE}");
    let session = &lease.row.session;
    let lock = advisory_lock(session);
    let row = client.query_one(&probe, &[&lock]).await;
    let row = row.map_err(|error| failed(operation, place, error))?;
    let (is_free, server_life): (bool, &str) = (row.get(0), row.get(1));
    let is_telling = lease.lock_taken_in.as_ref() == Some(&lock_taken_in(session, server_life));
    Ok(is_telling.then_some(!is_free))
}

/// The number of a session's advisory lock.
pub(super) fn advisory_lock(session: &SessionId) -> i64 {
    let digits = session.0.get(..16).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default() as i64
}

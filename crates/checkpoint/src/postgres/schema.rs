//! Tables, and how they come about: versioned migrations, each in one transaction.
//!
//! `wsp_checkpoint` may already exist in the existing producer's six-column shape: it is migrated
//! in place and never dropped. Its new columns are nullable, so that producer's statements go on
//! working; a trigger keeps them out while a lease is live (see `docs/checkpoints.md`).

use deadpool_postgres::{GenericClient, Object, Transaction};

use super::fault::failed;
use crate::error::{Error, table_missing, unsupported};

/// The schema that this release makes.
const VERSION: i32 = 1;

/// Serialises migrations of one database; any fixed number does.
const MIGRATION_LOCK: i64 = 0x7773_705f_6370; // "wsp_cp"

/// What is left of these where somebody dropped the others is taken over as it is.
const MIGRATION_1: &str = "
CREATE TABLE IF NOT EXISTS wsp_checkpoint (
    pack_key text NOT NULL, output_id text NOT NULL, last_file text NOT NULL,
    last_row_index integer NOT NULL, last_ts_utc text, updated_at_utc timestamptz NOT NULL,
    PRIMARY KEY (pack_key, output_id)
);
ALTER TABLE wsp_checkpoint
    ALTER COLUMN last_row_index TYPE bigint,
    ADD COLUMN IF NOT EXISTS checksum text, ADD COLUMN IF NOT EXISTS fence bigint,
    ADD COLUMN IF NOT EXISTS format_version integer, ADD COLUMN IF NOT EXISTS order_mode text,
    ADD COLUMN IF NOT EXISTS plan_digest text, ADD COLUMN IF NOT EXISTS platform_run_id text,
    ADD COLUMN IF NOT EXISTS sequence bigint, ADD COLUMN IF NOT EXISTS sort_time_ns text;
CREATE TABLE IF NOT EXISTS wsp_checkpoint_lease (
    pack_key text NOT NULL, output_id text NOT NULL, fence bigint NOT NULL, session text NOT NULL,
    holder_name text NOT NULL, holder_host text NOT NULL, holder_pid bigint NOT NULL,
    period_ms bigint NOT NULL, released boolean NOT NULL, renewals bigint NOT NULL,
    renewed_at timestamptz NOT NULL, expires_at timestamptz NOT NULL,
    PRIMARY KEY (pack_key, output_id)
);
CREATE TABLE IF NOT EXISTS wsp_checkpoint_history (
    entry bigint GENERATED ALWAYS AS IDENTITY, pack_key text NOT NULL, output_id text NOT NULL,
    line text NOT NULL, PRIMARY KEY (pack_key, output_id, entry)
);
CREATE OR REPLACE FUNCTION wsp_checkpoint_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
DECLARE lease wsp_checkpoint_lease;
BEGIN
    -- A fenced write counts the sequence on. One that leaves it alone knows no fences.
    IF NEW.sequence IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.sequence IS DISTINCT FROM OLD.sequence)
    THEN
        RETURN NEW;
    END IF;
    SELECT * INTO lease FROM wsp_checkpoint_lease
    WHERE pack_key = NEW.pack_key AND output_id = NEW.output_id
        AND NOT released AND expires_at > clock_timestamp();
    IF FOUND THEN
        RAISE EXCEPTION 'wsp_checkpoint: output % is leased by % (process % on %) until %',
            NEW.output_id, lease.holder_name, lease.holder_pid, lease.holder_host, lease.expires_at
            USING ERRCODE = 'object_in_use';
    END IF;
    NEW.checksum := NULL; NEW.fence := NULL; NEW.format_version := NULL; NEW.order_mode := NULL;
    NEW.plan_digest := NULL; NEW.platform_run_id := NULL; NEW.sequence := NULL;
    NEW.sort_time_ns := NULL;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS wsp_checkpoint_guard ON wsp_checkpoint;
CREATE TRIGGER wsp_checkpoint_guard BEFORE INSERT OR UPDATE ON wsp_checkpoint
    FOR EACH ROW EXECUTE FUNCTION wsp_checkpoint_guard();";

/// What later releases add to that shape, nullable: an older release does without.
///
/// `last_part`, `source` and `done` are those of the record, `done` as JSON. `lock_taken_in` is the session of the lease and the life of the server in which that session's
/// advisory lock was taken; without it the lock says nothing.
const ADDED: &str = "
ALTER TABLE wsp_checkpoint_lease ADD COLUMN IF NOT EXISTS lock_taken_in text;
ALTER TABLE wsp_checkpoint ADD COLUMN IF NOT EXISTS last_part text,
    ADD COLUMN IF NOT EXISTS source text, ADD COLUMN IF NOT EXISTS done text;";

/// What the database holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// None of the tables.
    Absent,
    /// No `wsp_checkpoint`, though tables stand that only this program makes beside it.
    Dropped,
    /// The existing producer's six columns.
    Old,
    /// This release's tables.
    Current,
}

/// Looks, and changes nothing.
pub(super) async fn shape(client: &impl GenericClient, place: &str) -> Result<Shape, Error> {
    let fault = |error| failed("look at the checkpoint tables", place, error);
    // Not `to_regclass`: it may answer from a cache that has not heard of a migration that this
    // transaction waited for.
    let tables = client
        .query(
            "SELECT relname FROM pg_class
            WHERE relname IN ('wsp_checkpoint', 'wsp_checkpoint_schema', 'wsp_checkpoint_lease',
                    'wsp_checkpoint_history')
                AND pg_table_is_visible(oid)",
            &[],
        )
        .await
        .map_err(fault)?;
    if tables.is_empty() {
        return Ok(Shape::Absent);
    }
    let stands = |name| tables.iter().any(|row| row.get::<_, &str>(0) == name);
    let has_versions = stands("wsp_checkpoint_schema");
    if has_versions {
        let newest = "SELECT coalesce(max(version), 0) FROM wsp_checkpoint_schema";
        let found: i32 = client.query_one(newest, &[]).await.map_err(fault)?.get(0);
        if found > VERSION {
            return Err(unsupported(place, found, VERSION as u32));
        }
    }
    Ok(match (stands("wsp_checkpoint"), has_versions) {
        (false, _) => Shape::Dropped,
        (true, false) => Shape::Old,
        (true, true) => Shape::Current,
    })
}

/// Brings the tables to this release's shape, in one transaction that waits at most 5 s for locks.
///
/// # Errors
/// `CHECKPOINT_TABLE_MISSING` where `wsp_checkpoint` was dropped, unless `gives_up_deleted`.
pub(super) async fn migrate(
    client: &mut Object,
    gives_up_deleted: bool,
    place: &str,
) -> Result<(), Error> {
    let has_all = async |client: &Object| {
        Ok::<_, Error>(
            shape(client, place).await? == Shape::Current && has_added(client, place).await?,
        )
    };
    if has_all(client).await? {
        return Ok(());
    }
    let fault = |error| failed("migrate the checkpoint tables", place, error);
    let change = client.transaction().await.map_err(fault)?;
    lock_migrations(&change, place).await?;
    // Another producer may have done it while this one waited.
    match shape(&change, place).await? {
        Shape::Current => {}
        Shape::Dropped if !gives_up_deleted => return Err(table_missing(place)),
        Shape::Dropped | Shape::Old | Shape::Absent => make(&change, place).await?,
    }
    if !has_added(&change, place).await? {
        change.batch_execute(ADDED).await.map_err(fault)?;
    }
    change.commit().await.map_err(fault)
}

/// Keeps other migrations out until the transaction ends.
pub(super) async fn lock_migrations(change: &Transaction<'_>, place: &str) -> Result<(), Error> {
    let lock =
        format!("SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    let locked = change.batch_execute(&lock).await;
    locked.map_err(|error| failed("migrate the checkpoint tables", place, error))
}

/// Makes what is not there of the tables of [`VERSION`].
async fn make(change: &Transaction<'_>, place: &str) -> Result<(), Error> {
    let versions = "CREATE TABLE IF NOT EXISTS wsp_checkpoint_schema (
        version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
        INSERT INTO wsp_checkpoint_schema (version) VALUES (1) ON CONFLICT DO NOTHING;";
    let made = change
        .batch_execute(&format!("{versions}{MIGRATION_1}"))
        .await;
    made.map_err(|error| failed("make the checkpoint tables", place, error))
}

/// Makes a `wsp_checkpoint` that was dropped again, with the rows that `put_back` writes into it;
/// whether it was this transaction that made it.
///
/// The trigger is off meanwhile: it would keep out a row of the existing producer that the lease
/// found, since the lease is live.
pub(super) async fn remake(
    change: &Transaction<'_>,
    put_back: impl AsyncFnOnce(&Transaction<'_>) -> Result<(), Error>,
    place: &str,
) -> Result<bool, Error> {
    let fault = |error| failed("make the dropped table again", place, error);
    lock_migrations(change, place).await?;
    if shape(change, place).await? != Shape::Dropped {
        return Ok(false);
    }
    make(change, place).await?;
    change.batch_execute(ADDED).await.map_err(fault)?;
    let trigger = |what| format!("ALTER TABLE wsp_checkpoint {what} TRIGGER wsp_checkpoint_guard");
    change
        .batch_execute(&trigger("DISABLE"))
        .await
        .map_err(fault)?;
    put_back(change).await?;
    change
        .batch_execute(&trigger("ENABLE"))
        .await
        .map_err(fault)?;
    Ok(true)
}

/// Whether what this release adds is there. Looks, and takes no lock on the table: `ALTER TABLE`
/// would wait for everyone who uses it, and find nothing to do.
async fn has_added(client: &impl GenericClient, place: &str) -> Result<bool, Error> {
    let look = "SELECT 4 = (
        SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE (c.relname, a.attname) IN (('wsp_checkpoint_lease', 'lock_taken_in'),
                ('wsp_checkpoint', 'last_part'), ('wsp_checkpoint', 'source'),
                ('wsp_checkpoint', 'done'))
            AND pg_table_is_visible(c.oid) AND NOT a.attisdropped)";
    let found = client.query_one(look, &[]).await;
    let found = found.map_err(|error| failed("look at the checkpoint tables", place, error))?;
    Ok(found.get(0))
}

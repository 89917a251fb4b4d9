//! What only a Postgres table and server can suffer.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use durable::BootClock;
use model::SharedClock;

use super::*;
use crate::conformance::{assert_code, cursor, holder, key, position, save};
use crate::store::CheckpointStore;
use crate::test_server::{PostgresOptions, PostgresServer, TestSchema};
use crate::{ReasonCode, StoredCursor};

const OLD_TABLE: &str = "CREATE TABLE wsp_checkpoint (
    pack_key text, output_id text, last_file text, last_row_index integer, last_ts_utc text NULL,
    updated_at_utc timestamptz, PRIMARY KEY (pack_key, output_id))";

async fn fresh() -> (TestSchema<'static>, PostgresStore) {
    let schema = PostgresServer::shared().fresh_schema().await;
    let store = PostgresStore::new(schema.dsn()).unwrap();
    (schema, store)
}

fn one(key: &CursorKey) -> LeaseRequest {
    LeaseRequest::new([key.clone()], holder("one"))
}

/// What the existing producer runs for every save.
fn foreign_upsert(key: &CursorKey, row: u64) -> String {
    format!(
        "INSERT INTO wsp_checkpoint
            (pack_key, output_id, last_file, last_row_index, last_ts_utc, updated_at_utc)
        VALUES ('{}', '{}', '/w/part-0.parquet', {row}, NULL, now())
        ON CONFLICT (pack_key, output_id) DO UPDATE SET last_file = excluded.last_file,
            last_row_index = excluded.last_row_index, last_ts_utc = excluded.last_ts_utc,
            updated_at_utc = excluded.updated_at_utc",
        key.pack_key(),
        key.output_id()
    )
}

#[tokio::test]
async fn the_existing_producers_table_is_read_as_it_is_and_migrated_in_place() {
    let (schema, store) = fresh().await;
    let key = key("old table", "o");
    schema.execute(OLD_TABLE).await;
    schema.execute(&foreign_upsert(&key, 41)).await;

    let record = store.load(&key).await.unwrap().unwrap();
    assert!(record.is_foreign());
    assert_eq!(store.lease_state(&key).await.unwrap(), None);
    schema
        .execute("SELECT last_row_index::integer FROM wsp_checkpoint")
        .await;

    let lease = store.acquire(&one(&key)).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(record));
    let far = u64::from(u32::MAX) * 2;
    save(&store, &lease, &key, cursor("part-0.parquet", far))
        .await
        .unwrap();
    assert_eq!(position(&store, &key).await.unwrap().1, far);
    // The existing producer's own reading goes on.
    schema
        .execute(
            "SELECT last_file, last_row_index, last_ts_utc, updated_at_utc FROM wsp_checkpoint",
        )
        .await;
}

#[tokio::test]
async fn a_row_with_nulls_or_endless_moments_is_damaged_and_never_a_panic() {
    for (column, wrong) in [
        ("last_file", "NULL"),
        ("last_row_index", "NULL"),
        ("last_row_index", "-1"),
        ("updated_at_utc", "NULL"),
        ("updated_at_utc", "'infinity'"),
        ("updated_at_utc", "'-infinity'"),
    ] {
        for is_ours in [false, true] {
            let (schema, store) = fresh().await;
            let key = key("damaged", "o");
            schema.execute(OLD_TABLE).await;
            schema.execute(&foreign_upsert(&key, 41)).await;
            if is_ours {
                let lease = store.acquire(&one(&key)).await.unwrap();
                save(&store, &lease, &key, cursor("a", 50)).await.unwrap();
                store.release(&lease).await.unwrap();
            }
            schema
                .execute(&format!("UPDATE wsp_checkpoint SET {column} = {wrong}"))
                .await;
            let error = store.load(&key).await.unwrap_err();
            assert_eq!(error.code(), ReasonCode::Corrupt, "{column} {wrong}");
            assert!(error.to_string().contains(column), "{error}");
        }
    }
}

#[tokio::test]
async fn a_lease_row_with_an_endless_moment_is_damaged_and_never_a_panic() {
    let (schema, store) = fresh().await;
    let key = key("damaged lease", "o");
    store.acquire(&one(&key)).await.unwrap();
    schema
        .execute("UPDATE wsp_checkpoint_lease SET renewed_at = 'infinity'")
        .await;
    let error = store.lease_state(&key).await.unwrap_err();
    assert_eq!(error.code(), ReasonCode::Corrupt);
    assert!(error.to_string().contains("renewed_at"), "{error}");
}

#[tokio::test]
async fn a_server_clock_that_was_set_forward_takes_no_lease_from_a_living_holder() {
    let (schema, store) = fresh().await;
    let key = key("clock", "o");
    let request = LeaseRequest {
        period: Duration::from_secs(2),
        ..one(&key)
    };
    let held = store.acquire(&request).await.unwrap();
    let other = PostgresStore::new(schema.dsn()).unwrap();
    let forward = || {
        let sql = "UPDATE wsp_checkpoint_lease SET expires_at = expires_at - interval '1 hour'";
        schema.execute(sql)
    };
    // It renews, and so it lives, whatever the server's clock says.
    for _ in 0..4 {
        store.renew(&held).await.unwrap();
        forward().await;
        assert_code(other.acquire(&request).await, ReasonCode::LeaseHeld);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // A holder that stands still for a period gives way, lock or not.
    forward().await;
    assert_code(other.acquire(&request).await, ReasonCode::LeaseHeld);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    other.acquire(&request).await.unwrap();
}

#[tokio::test]
async fn a_session_limits_what_it_locks_and_never_its_idle_time() {
    let (_schema, store) = fresh().await;
    for (name, limit) in [
        ("lock_timeout", "5s"),
        ("statement_timeout", "8s"),
        ("idle_in_transaction_session_timeout", "9s"),
        ("idle_session_timeout", "0"),
    ] {
        let check = format!(
            "DO $$ BEGIN ASSERT current_setting('{name}') = '{limit}', current_setting('{name}'); \
             END $$"
        );
        store.execute(&check).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_left_of_dropped_tables_stands_in_nobodys_way() {
    for dropped in [
        "wsp_checkpoint, wsp_checkpoint_lease, wsp_checkpoint_history, wsp_checkpoint_schema",
        "wsp_checkpoint_schema",
    ] {
        let (schema, store) = fresh().await;
        let key = key("dropped", "o");
        let lease = store.acquire(&one(&key)).await.unwrap();
        store.release(&lease).await.unwrap();
        schema.execute(&format!("DROP TABLE {dropped}")).await;
        let anew = PostgresStore::new(schema.dsn()).unwrap();
        let lease = anew.acquire(&one(&key)).await.unwrap();
        save(&anew, &lease, &key, cursor("a", 1)).await.unwrap();
        assert_eq!(position(&anew, &key).await, Some(("a".to_owned(), 1)));
    }
}

#[tokio::test]
async fn a_dropped_table_is_not_one_without_cursors_until_they_are_given_up() {
    for dropped in ["wsp_checkpoint", "wsp_checkpoint, wsp_checkpoint_schema"] {
        let (schema, store) = fresh().await;
        let key = key("table missing", "o");
        let lease = store.acquire(&one(&key)).await.unwrap();
        save(&store, &lease, &key, cursor("a", 1)).await.unwrap();
        store.release(&lease).await.unwrap();
        schema.execute(&format!("DROP TABLE {dropped}")).await;
        // One that knew the table, and one that did not.
        for store in [store.clone(), PostgresStore::new(schema.dsn()).unwrap()] {
            assert_code(store.load(&key).await, ReasonCode::TableMissing);
            assert_code(store.acquire(&one(&key)).await, ReasonCode::TableMissing);
        }
        let anew = PostgresStore::new(schema.dsn()).unwrap();
        let giving_up = one(&key).giving_up_deleted();
        let lease = anew.acquire(&giving_up).await.unwrap();
        assert_eq!(anew.load(&key).await.unwrap(), None);
        assert_eq!(lease.fence(&key), Some(2), "fences go on");
        save(&anew, &lease, &key, cursor("a", 0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_dropped_under_a_lease_is_made_again_with_all_of_its_cursors() {
    for by_renewal in [false, true] {
        let (schema, store) = fresh().await;
        let [moved, still, foreign] = ["moved", "still", "foreign"].map(|name| key(name, "o"));
        schema.execute(OLD_TABLE).await;
        schema.execute(&foreign_upsert(&foreign, 41)).await;
        let all = [moved.clone(), still.clone(), foreign.clone()];
        let request = LeaseRequest::new(all, holder("one"));
        let before = store.acquire(&request).await.unwrap();
        save(&store, &before, &still, cursor("a", 7)).await.unwrap();
        store.release(&before).await.unwrap();
        let lease = store.acquire(&request).await.unwrap();
        save(&store, &lease, &moved, cursor("a", 1)).await.unwrap();

        schema.execute("DROP TABLE wsp_checkpoint").await;
        if by_renewal {
            store.renew(&lease).await.unwrap();
            assert_eq!(position(&store, &moved).await.unwrap().1, 1);
        }
        save(&store, &lease, &moved, cursor("a", 2)).await.unwrap();
        assert_eq!(store.times_remade(), 1);
        assert_eq!(position(&store, &moved).await.unwrap().1, 2);
        assert_eq!(position(&store, &still).await.unwrap().1, 7);
        let taken_in = store.load(&foreign).await.unwrap().unwrap();
        assert!(taken_in.is_foreign());
        save(&store, &lease, &foreign, cursor("part-0.parquet", 50))
            .await
            .unwrap();
        // The trigger is back, too.
        let other = PostgresStore::new(schema.dsn()).unwrap();
        other.execute(&foreign_upsert(&still, 9)).await.unwrap_err();
        assert_code(other.acquire(&request).await, ReasonCode::LeaseHeld);
    }
}

#[tokio::test]
async fn two_streams_in_one_table_each_put_their_cursors_back() {
    let (schema, first) = fresh().await;
    let second = PostgresStore::new(schema.dsn()).unwrap();
    let [one_key, other_key] = ["one", "other"].map(|name| key(name, "o"));
    let held = first.acquire(&one(&one_key)).await.unwrap();
    let other = second.acquire(&one(&other_key)).await.unwrap();
    save(&first, &held, &one_key, cursor("a", 1)).await.unwrap();
    save(&second, &other, &other_key, cursor("a", 2))
        .await
        .unwrap();
    schema.execute("DROP TABLE wsp_checkpoint").await;
    first.renew(&held).await.unwrap();
    assert_eq!(second.load(&other_key).await.unwrap(), None);
    second.renew(&other).await.unwrap();
    assert_eq!(position(&second, &other_key).await.unwrap().1, 2);
    assert_eq!(position(&first, &one_key).await.unwrap().1, 1);
}

#[tokio::test]
async fn a_save_into_a_table_that_another_stream_made_again_puts_back_what_it_does_not_save() {
    let (schema, first) = fresh().await;
    let second = PostgresStore::new(schema.dsn()).unwrap();
    let [moved, still, other] = ["moved", "still", "other"].map(|name| key(name, "o"));
    let request = LeaseRequest::new([moved.clone(), still.clone()], holder("one"));
    let held = first.acquire(&request).await.unwrap();
    save(&first, &held, &moved, cursor("a", 1)).await.unwrap();
    save(&first, &held, &still, cursor("a", 7)).await.unwrap();
    let held_too = second.acquire(&one(&other)).await.unwrap();
    save(&second, &held_too, &other, cursor("a", 3))
        .await
        .unwrap();
    schema.execute("DROP TABLE wsp_checkpoint").await;
    save(&second, &held_too, &other, cursor("a", 4))
        .await
        .unwrap();
    assert_eq!(first.load(&still).await.unwrap(), None);
    save(&first, &held, &moved, cursor("a", 2)).await.unwrap();
    assert_eq!(position(&first, &moved).await.unwrap().1, 2);
    assert_eq!(position(&first, &still).await.unwrap().1, 7);
    assert_eq!(position(&first, &other).await.unwrap().1, 4);
}

#[tokio::test]
async fn who_lost_its_lease_makes_no_dropped_table_again() {
    let (schema, store) = fresh().await;
    let key = key("lost", "o");
    let lost = store.acquire(&one(&key)).await.unwrap();
    save(&store, &lost, &key, cursor("a", 1)).await.unwrap();
    let other = PostgresStore::new(schema.dsn()).unwrap();
    let taken = other.acquire(&one(&key).taking_over()).await.unwrap();
    save(&other, &taken, &key, cursor("a", 5)).await.unwrap();
    schema.execute("DROP TABLE wsp_checkpoint").await;
    assert_code(store.renew(&lost).await, ReasonCode::LeaseLost);
    assert_code(
        save(&store, &lost, &key, cursor("a", 2)).await,
        ReasonCode::LeaseLost,
    );
    assert_code(other.load(&key).await, ReasonCode::TableMissing);
    save(&other, &taken, &key, cursor("a", 6)).await.unwrap();
    assert_eq!(position(&other, &key).await.unwrap().1, 6);
}

#[tokio::test]
async fn a_writer_without_fences_is_refused_while_a_lease_lives_and_taken_in_after() {
    let (schema, store) = fresh().await;
    let key = key("trigger", "o");
    let lease = store.acquire(&one(&key)).await.unwrap();
    save(&store, &lease, &key, cursor("a", 1)).await.unwrap();
    let foreign = PostgresStore::new(schema.dsn()).unwrap();
    let refused = foreign.execute(&foreign_upsert(&key, 7)).await.unwrap_err();
    let chain = format!("{refused:?}");
    assert!(
        chain.contains("is leased by one (process 7 on host-1)"),
        "{chain}"
    );
    assert_eq!(position(&store, &key).await, Some(("a".to_owned(), 1)));

    store.release(&lease).await.unwrap();
    foreign.execute(&foreign_upsert(&key, 7)).await.unwrap();
    let record = store.load(&key).await.unwrap().unwrap();
    assert!(matches!(&record.cursor, StoredCursor::Foreign(cursor) if cursor.last_row_index == 7));
    let lease = store.acquire(&one(&key)).await.unwrap();
    save(&store, &lease, &key, cursor("part-0.parquet", 8))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_locked_by_another_session_is_unavailable_and_named() {
    let (schema, store) = fresh().await;
    schema.execute(OLD_TABLE).await;
    let link = Link::new(schema.dsn(), SharedClock::new(BootClock)).unwrap();
    let blocker = link.connect("test").await.unwrap();
    blocker
        .batch_execute("BEGIN; LOCK TABLE wsp_checkpoint IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let error = assert_code(
        store.acquire(&one(&key("locked", "o"))).await,
        ReasonCode::Unavailable,
    );
    assert!(error.to_string().contains("locked"), "{error}");
    blocker.batch_execute("COMMIT").await.unwrap();
    store.acquire(&one(&key("locked", "o"))).await.unwrap();
}

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() {
    let (schema, store) = fresh().await;
    let key = key("newer tables", "o");
    store.acquire(&one(&key)).await.unwrap();
    schema
        .execute("INSERT INTO wsp_checkpoint_schema (version) VALUES (2)")
        .await;
    let store = PostgresStore::new(schema.dsn()).unwrap();
    assert_code(store.load(&key).await, ReasonCode::VersionUnsupported);
    assert_code(
        store.acquire(&one(&key)).await,
        ReasonCode::VersionUnsupported,
    );
}

#[tokio::test]
async fn history_keeps_at_least_the_last_thousand_and_not_all() {
    let (schema, store) = fresh().await;
    let key = key("bounded", "o");
    let lease = store.acquire(&one(&key)).await.unwrap();
    schema
        .execute(&format!(
            "INSERT INTO wsp_checkpoint_history (pack_key, output_id, line)
            SELECT '{}', '{}', 'old' FROM generate_series(1, 5000)",
            key.pack_key(),
            key.output_id()
        ))
        .await;
    for row in 0..100 {
        save(&store, &lease, &key, cursor("a", row)).await.unwrap();
    }
    let left = "DO $$ BEGIN ASSERT (SELECT count(*) FROM wsp_checkpoint_history) = 1000; END $$";
    schema.execute(left).await;
    assert_eq!(store.history(&key, usize::MAX).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_wrong_password_or_database_is_not_waited_for() {
    let hba = "local all postgres trust\nlocal all all scram-sha-256\n".to_owned();
    let server = PostgresServer::start(&PostgresOptions {
        hba: Some(hba),
        ..PostgresOptions::default()
    });
    server
        .execute("CREATE ROLE wsp LOGIN PASSWORD 's3cret'")
        .await;
    let socket = server.dsn().split(" user=").next().unwrap().to_owned();
    for dsn in [
        format!("{socket} user=wsp password=wr0ng dbname=postgres"),
        format!("{socket} user=postgres dbname=nowhere"),
    ] {
        let store = PostgresStore::new(&dsn).unwrap();
        let error = assert_code(
            store.load(&key("wrong", "o")).await,
            ReasonCode::ConfigInvalid,
        );
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("wr0ng"), "{shown}");
    }
    let store = PostgresStore::new(&format!(
        "{socket} user=wsp password=s3cret dbname=postgres"
    ));
    assert_eq!(store.unwrap().load(&key("right", "o")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_is_outlived_by_the_lease_and_the_saves() {
    let server = PostgresServer::start(&PostgresOptions::default());
    let (first, second) = (
        PostgresStore::new(server.dsn()),
        PostgresStore::new(server.dsn()),
    );
    let (first, second, key) = (first.unwrap(), second.unwrap(), key("restart", "o"));
    let lease = first.acquire(&one(&key)).await.unwrap();
    for (round, signal) in ["INT", "KILL", "INT", "KILL"].into_iter().enumerate() {
        let row = round as u64 * 2;
        save(&first, &lease, &key, cursor("a", row)).await.unwrap();
        server.end(signal);
        assert_code(
            save(&first, &lease, &key, cursor("a", row + 1)).await,
            ReasonCode::Unavailable,
        );
        server.bring_up();
        // Its lock went with the server, which proves nothing: the lease is still held.
        assert_code(second.acquire(&one(&key)).await, ReasonCode::LeaseHeld);
        save(&first, &lease, &key, cursor("a", row + 1))
            .await
            .unwrap();
        first.renew(&lease).await.unwrap();
        assert_eq!(
            first.lease_state(&key).await.unwrap().unwrap().alive,
            Some(true)
        );
        assert_eq!(
            position(&second, &key).await,
            Some(("a".to_owned(), row + 1))
        );
    }
    drop(lease);
    // The server takes a moment to notice, but not the 30 seconds of the lease.
    let dropped = Instant::now();
    while let Err(error) = second.acquire(&one(&key)).await {
        assert!(dropped.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The lease of a holder that lives was taken for `period`: it is not free before that has passed,
/// and free then.
async fn assert_outlasts(newcomer: &PostgresStore, key: &CursorKey, period: Duration) {
    let began = Instant::now();
    while let Err(error) = newcomer.acquire(&one(key)).await {
        assert!(
            matches!(
                error.code(),
                ReasonCode::LeaseHeld | ReasonCode::Unavailable
            ),
            "{error:?}"
        );
        assert!(began.elapsed() < Duration::from_mins(1), "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= period, "taken too early");
}

/// Takes the lease whose holder was dropped: free long before its period is over, but only once
/// the server has seen the holder's connection end.
async fn take_of_dead(store: &PostgresStore, request: &LeaseRequest) {
    let died = Instant::now();
    while let Err(error) = store.acquire(request).await {
        assert!(died.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_failover_to_a_standby_takes_no_lease_from_a_living_holder() {
    let primary = PostgresServer::start(&PostgresOptions::default());
    let standby = primary.standby();
    let key = key("failover", "o");
    let period = Duration::from_secs(3);
    let request = LeaseRequest {
        period,
        ..one(&key)
    };
    let first = PostgresStore::new(primary.dsn()).unwrap();
    // What is written before a commit returns is on the standby, too.
    primary
        .execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        .await;
    primary
        .execute("ALTER SYSTEM SET synchronous_commit = remote_apply")
        .await;
    primary.execute("SELECT pg_reload_conf()").await;
    let held = first.acquire(&request).await.unwrap();
    first.renew(&held).await.unwrap();
    primary.end("KILL");
    standby.execute("SELECT pg_promote()").await;
    // Its clock is ahead of the primary's.
    let ahead = "UPDATE wsp_checkpoint_lease SET expires_at = expires_at - interval '1 hour'";
    standby.execute(ahead).await;
    let second = PostgresStore::new(standby.dsn()).unwrap();
    let seen = second.lease_state(&key).await.unwrap().unwrap();
    assert_eq!(seen.alive, None, "a standby has none of the locks");
    assert_outlasts(&second, &key, period).await;
    // Locks count again here.
    take_of_dead(&second, &one(&key)).await;
}

#[tokio::test]
async fn a_server_that_starts_over_takes_no_lease_from_a_living_holder() {
    let server = PostgresServer::start(&PostgresOptions::default());
    let key = key("started over", "o");
    let period = Duration::from_secs(3);
    let request = LeaseRequest {
        period,
        ..one(&key)
    };
    let (first, second) = (
        PostgresStore::new(server.dsn()).unwrap(),
        PostgresStore::new(server.dsn()).unwrap(),
    );
    let held = first.acquire(&request).await.unwrap();
    server.crash_a_child();
    let look = async || loop {
        match second.lease_state(&key).await {
            Err(error) if error.is_retryable() => {}
            seen => break seen.unwrap().unwrap().alive,
        }
    };
    assert_eq!(look().await, None, "all locks are gone");
    first.renew(&held).await.unwrap();
    assert_eq!(look().await, Some(true), "a renewal takes the lock anew");
    server.crash_a_child();
    assert_outlasts(&second, &key, period).await;
}

#[tokio::test]
async fn a_lease_of_an_older_release_is_waited_for_and_its_tables_get_what_is_new() {
    let (schema, store) = fresh().await;
    let key = key("older", "o");
    let period = Duration::from_secs(2);
    let request = LeaseRequest {
        period,
        ..one(&key)
    };
    drop(store.acquire(&request).await.unwrap());
    // As a release without the column leaves it.
    schema
        .execute("ALTER TABLE wsp_checkpoint_lease DROP COLUMN lock_taken_in")
        .await;
    let newcomer = PostgresStore::new(schema.dsn()).unwrap();
    let seen = newcomer.lease_state(&key).await.unwrap().unwrap();
    assert_eq!(seen.alive, None, "looking changes nothing");
    assert_outlasts(&newcomer, &key, period).await;
    let seen = newcomer.lease_state(&key).await.unwrap().unwrap();
    assert!(seen.alive.is_some(), "the column is there again");
    // An older release takes the lease, and knows nothing of the column.
    take_of_dead(&newcomer, &request).await;
    schema
        .execute(
            "UPDATE wsp_checkpoint_lease SET session = 'an older release''s', fence = fence + 1",
        )
        .await;
    let seen = newcomer.lease_state(&key).await.unwrap().unwrap();
    assert_eq!(
        seen.alive, None,
        "the lock named there is another session's"
    );
}

#[tokio::test]
async fn each_broken_connection_is_replaced_without_a_word_to_the_caller() {
    let (schema, store) = fresh().await;
    let key = key("broken", "o");
    let lease = store.acquire(&one(&key)).await.unwrap();
    for row in 0..5 {
        schema
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND state = 'idle'
                    AND query LIKE '%wsp_checkpoint%'",
            )
            .await;
        save(&store, &lease, &key, cursor("a", row)).await.unwrap();
    }
    assert_eq!(position(&store, &key).await, Some(("a".to_owned(), 4)));
}

/// Stands between a client and a server on this machine, and counts how often the client speaks
/// after the server did: its round trips. Gives its port.
fn counting_proxy(server_port: u16, trips: Arc<AtomicU64>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the test process.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
            let is_answered = Arc::new(AtomicBool::new(true));
            let asked = Arc::clone(&is_answered);
            let trips = Arc::clone(&trips);
            pass_on(&client, &server, move || {
                if asked.swap(false, Ordering::SeqCst) {
                    trips.fetch_add(1, Ordering::SeqCst);
                }
            });
            pass_on(&server, &client, move || {
                is_answered.store(true, Ordering::SeqCst);
            });
        }
    });
    port
}

/// Passes on what one side says, on a thread of its own, and notes each piece first.
fn pass_on(from: &TcpStream, to: &TcpStream, note: impl Fn() + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            note();
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

#[tokio::test]
async fn a_save_is_five_round_trips_a_renewal_four_and_a_release_one() {
    let server = PostgresServer::start(&PostgresOptions {
        tcp: true,
        ..PostgresOptions::default()
    });
    let trips = Arc::new(AtomicU64::new(0));
    let proxy = counting_proxy(server.port(), Arc::clone(&trips));
    let dsn = format!("host=127.0.0.1 port={proxy} user=postgres dbname=postgres");
    let store = PostgresStore::new(&dsn).unwrap();
    let keys = ["a", "b", "c"].map(|id| key("round trips", id));
    let request = LeaseRequest::new(keys.clone(), holder("one"));
    // What goes out at once may go out in pieces on a busy machine, with an answer in between: the
    // fewest of some rounds count. Statements are prepared once a connection, in the first one.
    let mut fewest = [u64::MAX; 3];
    for row in 1..=8 {
        let lease = store.acquire(&request).await.unwrap();
        let cursors = keys.iter().map(|key| (key.clone(), cursor("a", row)));
        let cursors = cursors.collect();
        trips.store(0, Ordering::SeqCst);
        store.save_many(&lease, &cursors).await.unwrap();
        let saves = trips.swap(0, Ordering::SeqCst);
        store.renew(&lease).await.unwrap();
        let renewals = trips.swap(0, Ordering::SeqCst);
        store.release(&lease).await.unwrap();
        let releases = trips.swap(0, Ordering::SeqCst);
        for (fewest, found) in fewest.iter_mut().zip([saves, renewals, releases]) {
            *fewest = found.min(*fewest);
        }
    }
    assert_eq!(
        fewest,
        [5, 4, 1],
        "of three keys: saves, renewals, releases"
    );
}

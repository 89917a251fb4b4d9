//! Promises about shards: one layout that all agree on, and a new division that repeats nothing.

use std::time::Duration;

use model::{DoneTally, IdTally, IdsSum, OutputId, Shard, ShardBy};

use super::{Backend, assert_code, cursor, holder, open_leased, request, save};
use crate::{
    CheckpointStore, Cursor, CursorKey, Lease, PackKey, ReasonCode, ShardRequest, agree_on_shards,
    keys_of_all_shards, reshard, shard_layout,
};

const OUTPUTS: [&str; 2] = ["arrivals", "flows"];

fn outputs() -> Vec<OutputId> {
    OUTPUTS.map(OutputId::from).to_vec()
}

fn shard(index: u32, count: u32) -> Shard {
    Shard::new(index, count, ShardBy::Key).unwrap()
}

fn key_of(pack_key: &PackKey, shard: Shard, output: &str) -> CursorKey {
    CursorKey::new(pack_key.scoped_to_shard(shard), output).unwrap()
}

async fn agree(
    backend: &dyn Backend,
    pack_key: &PackKey,
    shard: Shard,
) -> Result<Option<crate::ShardLayout>, crate::Error> {
    agree_within(backend, pack_key, (shard, backend.period())).await
}

/// The same by who waits so long for others.
async fn agree_within(
    backend: &dyn Backend,
    pack_key: &PackKey,
    (shard, period): (Shard, Duration),
) -> Result<Option<crate::ShardLayout>, crate::Error> {
    let (store, outputs) = (backend.open().await, outputs());
    let asked = ShardRequest {
        pack_key,
        outputs: &outputs,
        shard,
        holder: holder(&format!("shard {shard}")),
        period,
    };
    agree_on_shards(&*store, &asked, &backend.clock()).await
}

async fn saved(store: &dyn CheckpointStore, lease: &Lease, key: &CursorKey, row: u64) {
    save(store, lease, key, cursor("a", row)).await.unwrap();
    store.release(lease).await.unwrap();
}

/// Takes all leases and divides a stream anew.
async fn divide(
    backend: &dyn Backend,
    pack_key: &PackKey,
    to: u32,
) -> Result<crate::ShardLayout, crate::Error> {
    let (store, outputs) = (backend.open().await, outputs());
    let layout = shard_layout(&*store, pack_key).await?;
    let keys = keys_of_all_shards(pack_key, &outputs, layout.as_ref(), Some(to))?;
    let lease = store.acquire(&request(backend, "reshard", &keys)).await?;
    let by = ShardBy::Key;
    let done = reshard(&*store, &lease, (pack_key, &outputs), (to, by)).await;
    store.release(&lease).await?;
    done
}

/// The tally of a cursor survives the store.
pub async fn what_became_of_events_is_read_back(backend: &dyn Backend) {
    let key = super::key("tally", "o");
    let (store, lease) = open_leased(backend, &key).await;
    let tally = |events, byte| IdTally {
        events,
        ids_sum: IdsSum::of(&[byte; 32]),
    };
    let done = Some(DoneTally {
        acknowledged: tally(u64::from(u32::MAX) + 7, 0xfe),
        quarantined: tally(3, 1),
    });
    let with_tally = Cursor {
        done,
        ..cursor("a", 5)
    };
    save(&*store, &lease, &key, with_tally.clone())
        .await
        .unwrap();
    let record = backend.open().await.load(&key).await.unwrap().unwrap();
    assert_eq!(record.cursor, crate::StoredCursor::Ours(with_tally));
    save(&*store, &lease, &key, cursor("b", 0)).await.unwrap();
    let record = store.load(&key).await.unwrap().unwrap();
    assert_eq!(record.cursor, crate::StoredCursor::Ours(cursor("b", 0)));
}

/// Of four that begin at once, all find one layout.
pub async fn shards_that_begin_at_once_agree_on_one_layout(backend: &dyn Backend) {
    let pack_key = PackKey::of_root("layout at once");
    let begin = |index| agree(backend, &pack_key, shard(index, 4));
    let layouts = tokio::join!(begin(0), begin(1), begin(2), begin(3));
    for layout in [layouts.0, layouts.1, layouts.2, layouts.3] {
        let layout = layout.unwrap().unwrap();
        assert_eq!((layout.count, layout.generation), (4, 1));
    }
}

/// `CHECKPOINT_SHARDS_MISMATCH` for another count, another way to shard, and one piece.
pub async fn other_shards_than_the_layouts_are_refused(backend: &dyn Backend) {
    let pack_key = PackKey::of_root("layout refused");
    agree(backend, &pack_key, shard(0, 4)).await.unwrap();
    let by_id = Shard::new(0, 4, ShardBy::EventId).unwrap();
    for other in [shard(0, 3), by_id, Shard::WHOLE] {
        let outcome = agree(backend, &pack_key, other).await;
        let error = assert_code(outcome, ReasonCode::ShardsMismatch);
        assert!(error.to_string().contains("4 shards by key"), "{error}");
    }
    agree(backend, &pack_key, shard(3, 4)).await.unwrap();
}

/// Where the stream has cursors in one piece, or runs so, no shard begins.
pub async fn shards_pass_over_no_cursor_of_the_whole_stream(backend: &dyn Backend) {
    let pack_key = PackKey::of_root("layout whole");
    let whole = key_of(&pack_key, Shard::WHOLE, OUTPUTS[1]);
    let (store, lease) = open_leased(backend, &whole).await;
    // Not so long that the lease, which nobody renews here, is over.
    let soon = (shard(0, 2), backend.period() / 3);
    assert_code(
        agree_within(backend, &pack_key, soon).await,
        ReasonCode::LeaseHeld,
    );
    saved(&*store, &lease, &whole, 7).await;
    assert_code(
        agree(backend, &pack_key, shard(0, 2)).await,
        ReasonCode::ShardsMismatch,
    );
    assert!(shard_layout(&*store, &pack_key).await.unwrap().is_none());
    assert!(
        agree(backend, &pack_key, Shard::WHOLE)
            .await
            .unwrap()
            .is_none()
    );
    divide(backend, &pack_key, 2).await.unwrap();
    agree(backend, &pack_key, shard(0, 2)).await.unwrap();
}

/// The cursors of all shards before are in the new layout, and the old shards cannot go on.
pub async fn a_stream_is_divided_anew_by_one_write(backend: &dyn Backend) {
    let pack_key = PackKey::of_root("divided");
    agree(backend, &pack_key, shard(0, 3)).await.unwrap();
    for index in [0, 2] {
        let key = key_of(&pack_key, shard(index, 3), OUTPUTS[0]);
        let (store, lease) = open_leased(backend, &key).await;
        saved(&*store, &lease, &key, u64::from(10 + index)).await;
    }
    let running = key_of(&pack_key, shard(1, 3), OUTPUTS[0]);
    let (store, lease) = open_leased(backend, &running).await;
    assert_code(divide(backend, &pack_key, 2).await, ReasonCode::LeaseHeld);
    store.release(&lease).await.unwrap();

    let layout = divide(backend, &pack_key, 2).await.unwrap();
    assert_eq!((layout.count, layout.generation), (2, 2));
    let frozen = &layout.frozen[0];
    let rows = |index| {
        let records = frozen.records_of(index);
        records
            .map(|r| r.cursor.last_row_index())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (frozen.count, rows(0), rows(1), rows(2)),
        (3, vec![10], vec![], vec![12])
    );
    let stored = shard_layout(&*store, &pack_key).await.unwrap();
    assert_eq!(stored, Some(layout.clone()));
    assert_eq!(divide(backend, &pack_key, 2).await.unwrap(), layout);
    assert_code(
        agree(backend, &pack_key, shard(0, 3)).await,
        ReasonCode::ShardsMismatch,
    );
    assert_eq!(
        agree(backend, &pack_key, shard(1, 2)).await.unwrap(),
        Some(layout)
    );
}

/// A stream that comes back to a number of shards begins those without the cursors of then, which
/// are frozen: their tallies would count twice.
pub async fn a_division_of_before_leaves_no_cursor_behind(backend: &dyn Backend) {
    let pack_key = PackKey::of_root("divided back");
    agree(backend, &pack_key, shard(0, 2)).await.unwrap();
    let key = key_of(&pack_key, shard(1, 2), OUTPUTS[0]);
    let (store, lease) = open_leased(backend, &key).await;
    saved(&*store, &lease, &key, 4).await;
    divide(backend, &pack_key, 3).await.unwrap();
    assert!(store.load(&key).await.unwrap().is_some());
    let layout = divide(backend, &pack_key, 2).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), None);
    let counts: Vec<u32> = layout.frozen.iter().map(|frozen| frozen.count).collect();
    assert_eq!(counts, [2, 3]);
    assert_eq!(layout.frozen[0].records_of(1).count(), 1);
}

//! Promises about leases: one writer, proven by a fence.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use durable::TokioClock;
use model::{Clock, SharedClock};

use super::{Backend, assert_code, cursor, key, open_leased, position, request, save};
use crate::{CheckpointStore, Lease, LeaseRequest, ReasonCode, acquire_or_wait};

/// `LEASE_LOST` for a save or reset under a lease of another key.
pub async fn a_save_shows_a_lease_of_its_key(backend: &dyn Backend) {
    let (mine, other) = (key("shown", "mine"), key("shown", "other"));
    let (store, lease) = open_leased(backend, &mine).await;
    assert_code(
        save(&*store, &lease, &other, cursor("a", 0)).await,
        ReasonCode::LeaseLost,
    );
    assert_code(store.reset(&lease, &other).await, ReasonCode::LeaseLost);
    assert_eq!(store.load(&other).await.unwrap(), None);
}

/// `LEASE_HELD` names the holder.
pub async fn a_held_lease_names_its_holder(backend: &dyn Backend) {
    let key = key("held", "o");
    let (_store, _lease) = open_leased(backend, &key).await;
    let second = backend.open().await;
    let outcome = second.acquire(&request(backend, "two", [&key])).await;
    let error = assert_code(outcome, ReasonCode::LeaseHeld);
    assert!(
        error.to_string().contains("one (process 7 on host-1)"),
        "{error}"
    );
}

/// A key in the way leaves the others free.
pub async fn leases_are_taken_all_or_none(backend: &dyn Backend) {
    let keys = ["a", "b", "c"].map(|id| key("all or none", id));
    let (_store, _lease) = open_leased(backend, &keys[1]).await;
    let second = backend.open().await;
    let outcome = second.acquire(&request(backend, "two", &keys)).await;
    assert_code(outcome, ReasonCode::LeaseHeld);
    let third = backend.open().await;
    for free in [&keys[0], &keys[2]] {
        third
            .acquire(&request(backend, "three", [free]))
            .await
            .unwrap();
    }
}

/// Of eight at once one has the leases.
pub async fn of_many_takers_one_wins(backend: &dyn Backend) {
    let keys = ["a", "b", "c"].map(|id| key("takers", id));
    let mut takers = Vec::new();
    for n in 0..8 {
        let store = backend.open().await;
        let request = request(backend, &format!("taker {n}"), &keys);
        takers.push(tokio::spawn(async move {
            let outcome = store.acquire(&request).await;
            (store, outcome)
        }));
    }
    let mut winners = Vec::new();
    for taker in takers {
        let (store, outcome) = taker.await.unwrap();
        match outcome {
            Ok(lease) => winners.push((store, lease)),
            refused => drop(assert_code(refused, ReasonCode::LeaseHeld)),
        }
    }
    assert_eq!(winners.len(), 1);
    let (store, lease) = &winners[0];
    save(&**store, lease, &keys[0], cursor("a", 0))
        .await
        .unwrap();
}

/// A released lease can be taken, and a late second release takes nothing.
pub async fn a_released_lease_is_free_at_once(backend: &dyn Backend) {
    let key = key("released", "o");
    let (store, lease) = open_leased(backend, &key).await;
    store.release(&lease).await.unwrap();
    let second = backend.open().await;
    assert_eq!(second.lease_state(&key).await.unwrap(), None);
    let taken = second
        .acquire(&request(backend, "two", [&key]))
        .await
        .unwrap();
    // A second release comes too late to free what another took.
    store.release(&lease).await.unwrap();
    second.renew(&taken).await.unwrap();
}

/// `LEASE_LOST` for what is done under a lease that was released.
pub async fn a_released_lease_saves_nothing(backend: &dyn Backend) {
    let key = key("released, then shown", "o");
    let (store, lease) = open_leased(backend, &key).await;
    store.release(&lease).await.unwrap();
    assert_code(
        save(&*store, &lease, &key, cursor("a", 0)).await,
        ReasonCode::LeaseLost,
    );
    assert_code(store.renew(&lease).await, ReasonCode::LeaseLost);
    assert_eq!(store.load(&key).await.unwrap(), None);
}

/// Fences grow, over saves, resets and releases.
pub async fn a_fence_grows_with_every_take(backend: &dyn Backend) {
    let key = key("fences", "o");
    let mut last = 0;
    for round in 0..4 {
        let (store, lease) = open_leased(backend, &key).await;
        let fence = lease.fence(&key).unwrap();
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        save(&*store, &lease, &key, cursor("a", round))
            .await
            .unwrap();
        if round == 1 {
            store.reset(&lease, &key).await.unwrap();
        }
        store.release(&lease).await.unwrap();
    }
}

/// `LEASE_LOST`, naming who took it, for all that it tries.
pub async fn a_producer_that_was_taken_over_changes_nothing(backend: &dyn Backend) {
    let keys = ["a", "b"].map(|id| key("taken over", id));
    let first = backend.open().await;
    let old = first
        .acquire(&request(backend, "one", &keys))
        .await
        .unwrap();
    save(&*first, &old, &keys[0], cursor("a", 1)).await.unwrap();

    let second = backend.open().await;
    let take_over = LeaseRequest {
        take_over: true,
        ..request(backend, "two", [&keys[0]])
    };
    let new = second.acquire(&take_over).await.unwrap();

    let error = assert_code(
        save(&*first, &old, &keys[0], cursor("a", 9)).await,
        ReasonCode::LeaseLost,
    );
    assert!(
        error.to_string().contains("two"),
        "names who took it: {error}"
    );
    assert_code(first.renew(&old).await, ReasonCode::LeaseLost);
    assert_code(first.reset(&old, &keys[0]).await, ReasonCode::LeaseLost);
    first.release(&old).await.unwrap();
    assert_eq!(position(&*first, &keys[0]).await, Some(("a".to_owned(), 1)));
    save(&*second, &new, &keys[0], cursor("a", 2))
        .await
        .unwrap();
}

/// An expired lease may be taken, and its holder cannot save when it wakes up.
pub async fn an_expired_lease_may_be_taken(backend: &dyn Backend) {
    let key = key("expired", "o");
    let (first, old) = open_leased(backend, &key).await;
    save(&*first, &old, &key, cursor("a", 1)).await.unwrap();
    let second = backend.open().await;
    let request = request(backend, "two", [&key]);
    assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
    backend.clock().sleep(backend.period()).await;
    let new = second.acquire(&request).await.unwrap();

    // The first producer wakes up.
    assert_code(
        save(&*first, &old, &key, cursor("a", 9)).await,
        ReasonCode::LeaseLost,
    );
    assert_eq!(position(&*second, &key).await, Some(("a".to_owned(), 1)));
    save(&*second, &new, &key, cursor("a", 2)).await.unwrap();
}

/// An expired lease that nobody took saves and is renewed.
pub async fn an_expired_lease_that_nobody_took_is_still_good(backend: &dyn Backend) {
    let key = key("expired, not taken", "o");
    let (store, lease) = open_leased(backend, &key).await;
    backend.clock().sleep(backend.period() * 2).await;
    save(&*store, &lease, &key, cursor("a", 1)).await.unwrap();
    store.renew(&lease).await.unwrap();
    let second = backend.open().await;
    let outcome = second.acquire(&request(backend, "two", [&key])).await;
    assert_code(outcome, ReasonCode::LeaseHeld);
}

/// A lease that is renewed does not expire.
pub async fn a_renewal_starts_the_period_anew(backend: &dyn Backend) {
    let key = key("renewed", "o");
    let (first, lease) = open_leased(backend, &key).await;
    let second = backend.open().await;
    let request = request(backend, "two", [&key]);
    assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
    for _ in 0..4 {
        backend.clock().sleep(backend.period() / 2).await;
        first.renew(&lease).await.unwrap();
        assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
    }
    backend.clock().sleep(backend.period()).await;
    second.acquire(&request).await.unwrap();
}

/// A dead holder's lease is free before its period is over, where death is known.
pub async fn a_dead_holder_is_known_at_once(backend: &dyn Backend) {
    let keys = ["a", "b"].map(|id| key("dead", id));
    let first = backend.open().await;
    let lease = first
        .acquire(&request(backend, "one", &keys))
        .await
        .unwrap();
    let fence = lease.fence(&keys[0]);
    drop((first, lease));
    let second = backend.open().await;
    let request = request(backend, "two", &keys);
    if !backend.knows_death() {
        assert_code(second.acquire(&request).await, ReasonCode::LeaseHeld);
        return;
    }
    let lease = eventually_acquired(&*second, &request, backend.period() / 2).await;
    assert!(lease.fence(&keys[0]) > fence);
}

/// A server may take a moment to notice that a connection ended: well under the period, or the
/// promise is not kept.
async fn eventually_acquired(
    store: &dyn CheckpointStore,
    request: &LeaseRequest,
    within: Duration,
) -> Lease {
    // A server's own time, which no clock of the test moves.
    let clock = TokioClock;
    let started = clock.now();
    loop {
        match store.acquire(request).await {
            Ok(lease) => return lease,
            Err(error) => assert!(clock.now() - started < within, "{error}"),
        }
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// Who waits a period has the leases of a holder that says nothing.
pub async fn a_waiting_producer_outlasts_a_silent_holder(backend: &dyn Backend) {
    let keys = ["a", "b", "c"].map(|output| key("waiting", output));
    let first = backend.open().await;
    let held = first.acquire(&request(backend, "one", &keys)).await;
    let _held = held.unwrap();
    let second = backend.open().await;
    let request = request(backend, "two", &keys);
    let (mut named, clock) = (Vec::new(), backend.clock());
    let taken = acquire_or_wait(&*second, &request, &clock, |_, holder| {
        named.push(holder.name.clone());
    });
    taken.await.unwrap();
    assert_eq!(named, ["one"], "told once, not at every try");
}

/// Who waits a period for a holder that renews has `LEASE_HELD`.
pub async fn a_waiting_producer_gives_up_on_a_living_holder(backend: &dyn Backend) {
    let key = key("waiting in vain", "o");
    let (first, lease) = open_leased(backend, &key).await;
    let second = backend.open().await;
    let request = request(backend, "two", [&key]);
    let clock = RenewingClock {
        inner: backend.clock(),
        holder: first,
        lease: Arc::new(lease),
    };
    let outcome = acquire_or_wait(&*second, &request, &clock, |_, _| {}).await;
    assert_code(outcome, ReasonCode::LeaseHeld);
}

/// Time in which the holder keeps renewing.
#[derive(Clone)]
struct RenewingClock {
    inner: SharedClock,
    holder: Arc<dyn CheckpointStore>,
    lease: Arc<Lease>,
}

impl Clock for RenewingClock {
    fn now(&self) -> Instant {
        self.inner.now()
    }

    fn wall(&self) -> SystemTime {
        self.inner.wall()
    }

    async fn sleep(&self, delay: Duration) {
        self.inner.sleep(delay).await;
        self.holder.renew(&self.lease).await.unwrap();
    }
}

/// An operator's reset stands against the producer it interrupted.
pub async fn a_reset_between_two_saves_is_not_overwritten(backend: &dyn Backend) {
    let key = key("interleaved", "o");
    let (first, old) = open_leased(backend, &key).await;
    save(&*first, &old, &key, cursor("a", 5)).await.unwrap();

    let operator = backend.open().await;
    let take_over = LeaseRequest {
        take_over: true,
        ..request(backend, "operator", [&key])
    };
    let lease = operator.acquire(&take_over).await.unwrap();
    operator.reset(&lease, &key).await.unwrap();
    operator.release(&lease).await.unwrap();

    assert_code(
        save(&*first, &old, &key, cursor("a", 6)).await,
        ReasonCode::LeaseLost,
    );
    assert_eq!(first.load(&key).await.unwrap(), None);
    let (second, lease) = open_leased(backend, &key).await;
    save(&*second, &lease, &key, cursor("a", 0)).await.unwrap();
}

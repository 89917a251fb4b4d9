//! A root that is deleted under a lease, and made again from what its session remembers.

use model::Clock as _;

use super::*;
use crate::conformance::{assert_code, cursor, holder, key, position, save};
use crate::{Error, ReasonCode};

struct Scene {
    folder: TempDir,
    keys: [CursorKey; 2],
}

impl Scene {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: ["one", "two"].map(|name| key("remade", name)),
        }
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("above/runs")
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.runs().join("cursors")).made_again_with(self.runs())
    }

    async fn leased(&self, store: &FileStore) -> Result<Lease, Error> {
        let request = LeaseRequest::new(self.keys.clone(), holder("one"));
        store.acquire(&request).await
    }

    /// A lease under which the first key was saved at row 7 before, and the second at row 3 now.
    async fn streaming(&self, store: &FileStore) -> Lease {
        let before = self.leased(store).await.unwrap();
        save(store, &before, &self.keys[0], cursor("a", 7))
            .await
            .unwrap();
        store.release(&before).await.unwrap();
        let lease = self.leased(store).await.unwrap();
        save(store, &lease, &self.keys[1], cursor("a", 3))
            .await
            .unwrap();
        lease
    }

    fn delete(&self) {
        std::fs::remove_dir_all(self.runs()).unwrap();
    }
}

#[tokio::test]
async fn a_deleted_root_is_made_again_with_all_cursors_and_a_higher_fence() {
    for by_renewal in [false, true] {
        let scene = Scene::new();
        let store = scene.store();
        let lease = scene.streaming(&store).await;
        let [still, moved] = &scene.keys;
        for round in 1..=2 {
            let fence = lease.fence(moved).unwrap();
            scene.delete();
            if by_renewal {
                store.renew(&lease).await.unwrap();
                assert_eq!(position(&store, moved).await.unwrap().1, 2 + round);
            }
            save(&store, &lease, moved, cursor("a", 3 + round))
                .await
                .unwrap();
            assert_eq!(position(&store, moved).await.unwrap().1, 3 + round);
            assert_eq!(position(&store, still).await.unwrap().1, 7);
            assert_eq!(lease.fence(moved), Some(fence + 1));
            let state = store.lease_state(still).await.unwrap().unwrap();
            assert_eq!((state.fence, state.alive), (fence + 1, Some(true)));
            assert_eq!(CheckpointStore::times_remade(&store), round);
            assert_code(scene.leased(&scene.store()).await, ReasonCode::LeaseHeld);
        }
        store.release(&lease).await.unwrap();
        let next = scene.leased(&scene.store()).await.unwrap();
        assert!(next.fence(moved) > lease.fence(moved));
    }
}

#[tokio::test]
async fn who_took_the_deleted_root_first_keeps_it_and_no_cursor_goes_back() {
    let scene = Scene::new();
    let (store, other) = (scene.store(), scene.store());
    let lost = scene.streaming(&store).await;
    scene.delete();
    let taken = scene.leased(&other).await.unwrap();
    let moved = &scene.keys[1];
    save(&other, &taken, moved, cursor("a", 90)).await.unwrap();
    assert_code(
        save(&store, &lost, moved, cursor("a", 4)).await,
        ReasonCode::LeaseLost,
    );
    assert_code(store.renew(&lost).await, ReasonCode::LeaseLost);
    assert_eq!(position(&other, moved).await.unwrap().1, 90);
    assert_eq!(CheckpointStore::times_remade(&store), 0);
    save(&other, &taken, moved, cursor("a", 91)).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_another_took_in_the_deleted_root_is_not_replaced() {
    let scene = Scene::new();
    let (store, other) = (scene.store(), scene.store());
    let lost = scene.streaming(&store).await;
    scene.delete();
    // It has saved nothing yet.
    let taken = scene.leased(&other).await.unwrap();
    assert_code(store.renew(&lost).await, ReasonCode::LeaseLost);
    other.renew(&taken).await.unwrap();
    assert!(other.load(&scene.keys[1]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_whose_lease_ran_out_does_not_make_the_deleted_root_again() {
    let scene = Scene::new();
    let clock = ManualClock::default();
    let store = FileStore::with_observer(scene.runs().join("cursors"), clock.observer());
    let store = store.made_again_with(scene.runs());
    let lease = scene.streaming(&store).await;
    clock.sleep(lease.period()).await;
    // Another may have gone on from its cursors meanwhile, and then the root was deleted.
    scene.delete();
    let moved = &scene.keys[1];
    assert_code(
        save(&store, &lease, moved, cursor("a", 4)).await,
        ReasonCode::LeaseLost,
    );
    assert!(!scene.runs().exists());
}

#[tokio::test]
async fn another_folder_above_or_nobody_who_said_so_leaves_it_deleted() {
    let scene = Scene::new();
    let store = scene.store();
    let lease = scene.streaming(&store).await;
    let above = scene.folder.path().join("above");
    std::fs::rename(&above, scene.folder.path().join("away")).unwrap();
    std::fs::create_dir(&above).unwrap();
    let moved = &scene.keys[1];
    assert_code(
        save(&store, &lease, moved, cursor("a", 4)).await,
        ReasonCode::Unavailable,
    );
    assert!(!scene.runs().exists());

    let scene = Scene::new();
    let store = FileStore::new(scene.runs().join("cursors"));
    let lease = scene.streaming(&store).await;
    scene.delete();
    assert_code(
        save(&store, &lease, moved, cursor("a", 4)).await,
        ReasonCode::Unavailable,
    );
    assert!(!scene.runs().exists());
}

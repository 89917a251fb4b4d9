//! The order of stream views, looked at before the first event of a run in `as_written` order.
//!
//! In event time the parts' times are learnt anyway, and the order is checked there.

use checkpoint::OrderMode;
use oracle_store::Part;
use replay::{Ending, TimeIndex, TimeIndexCache, check_view_order, readers_of};

use crate::Error;
use crate::blocking::blocking_as;
use crate::plan::Plan;
use crate::profile::request::StreamRequest;
use crate::run::reading::index_folder;

/// Checks that every view of a plan is in order, by its time column. What is learnt of it is
/// kept for later runs.
///
/// # Errors
/// `EVENT_TIME_DISORDER`; those of [`TimeIndex::learn`].
pub(crate) async fn check(
    request: &StreamRequest,
    plan: &Plan,
    order: OrderMode,
    ending: &Ending,
) -> Result<(), Error> {
    let views = plan.outputs.iter().filter(|output| output.view.is_some());
    let views: Vec<Vec<Part>> = views.map(|output| output.locator.parts.clone()).collect();
    if order == OrderMode::EventTime || views.is_empty() {
        return Ok(());
    }
    let cache_folder = index_folder(request, &plan.pack_key);
    let (store, ending) = (plan.store.clone(), ending.clone());
    let what = "The thread that reads time columns ended too early";
    blocking_as(what, move || {
        let cache = TimeIndexCache::load(&cache_folder);
        let mut index = TimeIndex::new(store.clone(), cache, readers_of(&store));
        for parts in &views {
            let times = index.learn(&parts.iter().collect::<Vec<_>>(), &ending)?;
            check_view_order(parts, &times)?;
        }
        Ok::<_, Error>(())
    })
    .await
}

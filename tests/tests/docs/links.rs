//! Links between the Markdown files of the repository lead somewhere.

use system_tests::docs::{links, pages};

#[test]
fn links_and_anchors_of_all_pages_lead_somewhere() {
    let pages = pages::all();
    assert!(pages.len() > 20, "{pages:?}");
    let broken = links::broken(&pages::repository(), &pages);
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

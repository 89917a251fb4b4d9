//! A world with many faults is refused for the first of them in the order of the checks, whatever
//! order they came in.

use sandbox::{Corruption, GateOptions, WorldOptions};
use system_tests::Rig;

/// One more fault of a world, or of the profile that names it.
enum Fault {
    Of(Corruption),
    AllowlistEmpty,
}

/// Faults from the last check to the first, each with the code that it leads to: a world with one
/// of them and all before it in this list is refused for that one.
const FROM_LAST_TO_FIRST: [(Fault, &str); 13] = [
    (
        Fault::Of(Corruption::TemplateMissing),
        "OUTPUT_TEMPLATE_MISSING",
    ),
    (Fault::AllowlistEmpty, "PRODUCER_ALLOWLIST_EMPTY"),
    (
        Fault::Of(Corruption::PrimaryKeyEmpty),
        "PRIMARY_KEY_UNDEFINED",
    ),
    (Fault::Of(Corruption::FlagMissing), "GATE_PASS_MISSING"),
    (Fault::Of(Corruption::GateUnknown), "GATE_UNKNOWN"),
    (Fault::Of(Corruption::SealFailed), "PACK_SEALED_FAILED"),
    (
        Fault::Of(Corruption::ManifestGarbage),
        "PACK_MANIFEST_INVALID",
    ),
    (Fault::Of(Corruption::OutputUnknown), "OUTPUT_UNKNOWN"),
    (
        Fault::Of(Corruption::ReceiptSeedMissing),
        "WORLD_KEY_MISSING",
    ),
    (
        Fault::Of(Corruption::ReceiptMissing),
        "RUN_RECEIPT_UNREADABLE",
    ),
    (
        Fault::Of(Corruption::EngineRootMissing),
        "ENGINE_ROOT_MISSING",
    ),
    (Fault::Of(Corruption::GateMapGarbage), "GATE_MAP_UNREADABLE"),
    (
        Fault::Of(Corruption::CatalogueGarbage),
        "CATALOGUE_UNREADABLE",
    ),
];

#[test]
fn a_world_with_many_faults_is_refused_for_the_first_in_the_order_of_the_checks() {
    let keys = [("wiring.wsp_producer.allowlist_ref", "allow")];
    let rig = Rig::new(&WorldOptions::sample(), GateOptions::default(), &keys);
    let allowlist = rig.folder.path().join("allow");
    std::fs::write(&allowlist, "svc:world_stream_producer\n").unwrap();
    rig.run(&["plan"], &[]).expect(0, "");
    for (fault, code) in FROM_LAST_TO_FIRST {
        match fault {
            Fault::Of(corruption) => corruption.apply(&rig.world).unwrap(),
            Fault::AllowlistEmpty => std::fs::write(&allowlist, "# nobody\n").unwrap(),
        }
        rig.run(&["plan"], &[]).expect(1, code);
        // An inspection asks for no producer; the rest is one list, walked to its end.
        if code.starts_with("PRODUCER_") {
            continue;
        }
        let verified = rig.run(&["verify"], &[]);
        verified.expect(1, code);
    }
}

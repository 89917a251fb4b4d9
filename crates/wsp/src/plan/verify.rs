//! All evidence of one world, looked at to the end: `verify` lists every fault and
//! never stops at the first.
//!
//! It reads what a run would read before its first push, always by digest, and no
//! payload: with `order` the time columns, with `data` the bytes of every object of
//! the pack. It writes nothing.

use model::{EngineRunId, OutputId};
use std::sync::Arc;

use gates::{ClearanceRequest, GateReceipt, GateStatus, VerificationMode};
use oracle_store::{
    ContentsIndex, DataPlaces, DataVerification, OutputLocator, PackEvidence, PackExpectation,
    Posture, SealKind, WorldKey, check_pack, footer, locate, verify_instance_proof,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Error;
use crate::plan::selection::{Role, SelectedOutput};
use crate::plan::{LocatedWorld, locate_world};
use crate::profile::request::StreamRequest;
use replay::{Ending, PartTimes, TimeIndex, TimeIndexCache};

/// How far to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Read every time column, to say for certain whether parts are in order.
    pub order: bool,
    /// Hash every object of the pack against the contents index.
    pub data: bool,
}

/// The verdict over a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// It may be streamed, and something is worth knowing.
    Warn,
    /// It may not be streamed.
    Fail,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// A reason code, or the name of a warning.
    pub reason: String,
    /// What, where, and what to do.
    pub detail: String,
}

/// All that `verify` found.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    /// The worst of the findings.
    pub status: Verdict,
    /// The first failure's reason code.
    pub reason: Option<String>,
    /// Everything that is wrong or worth knowing.
    pub findings: Vec<Finding>,
    /// Where the world is.
    pub engine_run_root: Option<String>,
    /// How much evidence was needed.
    pub posture: Posture,
    /// Which world it is.
    pub world_key: Option<WorldKey>,
    /// The engine run.
    pub run_id: Option<EngineRunId>,
    /// What manifest and seal say.
    pub pack: Option<PackEvidence>,
    /// Every required gate, with what it depends on.
    pub gates: Vec<GateReceipt>,
    /// The contents index, and what hashing against it gave.
    pub contents: Option<Value>,
    /// Instance receipts that stand and hold.
    pub instance_proofs: Vec<Value>,
    /// Each output.
    pub outputs: Vec<OutputVerification>,
}

/// What was found of one output.
#[derive(Debug, Clone, Serialize)]
pub struct OutputVerification {
    /// The output.
    pub output_id: OutputId,
    /// What it is to the platform.
    pub role: Role,
    /// How many parts it has.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Their rows, where they say so.
    pub rows: Option<u64>,
    /// The first event time; only with `order`.
    pub first_ts_utc: Option<String>,
    /// The last event time; only with `order`.
    pub last_ts_utc: Option<String>,
    /// Parts in time order, parts not, or `unknown` without `order`.
    pub time_order: Value,
}

impl VerifyReport {
    fn new(posture: Posture) -> Self {
        Self {
            status: Verdict::Ok,
            reason: None,
            findings: Vec::new(),
            engine_run_root: None,
            posture,
            world_key: None,
            run_id: None,
            pack: None,
            gates: Vec::new(),
            contents: None,
            instance_proofs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn fail(&mut self, error: &Error) {
        self.find(Verdict::Fail, error.code(), error.detail());
    }

    fn find(&mut self, verdict: Verdict, reason: &str, detail: String) {
        if verdict == Verdict::Fail && self.status != Verdict::Fail {
            self.reason = Some(reason.to_owned());
        }
        self.status = self.status.max(verdict);
        self.findings.push(Finding {
            verdict,
            reason: reason.to_owned(),
            detail,
        });
    }
}

/// Verifies the world of a request to the end.
///
/// # Errors
/// Only what makes looking impossible: an unusable profile. Everything else is a
/// finding.
pub async fn verify(
    request: &StreamRequest,
    options: VerifyOptions,
) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::new(request.profile.posture);
    let world = match locate_world(request).await {
        Ok(world) => world,
        Err(error) if error.class() == model::Class::Usage => return Err(error),
        Err(error) => {
            report.fail(&error);
            return Ok(report);
        }
    };
    report.engine_run_root = Some(world.store.root().as_str().to_owned());
    report.world_key = Some(world.world_key.clone());
    report.run_id = Some(world.receipt.run_id.clone());
    verify_pack(request, &world, &mut report).await;
    verify_gates(&world, &mut report).await;
    let located = locate_outputs(&world, &mut report).await;
    if options.data {
        refuse_folders(&world, &mut report).await;
    }
    verify_data(&world, &located, options, &mut report).await;
    for (selected, output) in &located {
        let verified = describe(&world, selected, output, options, &mut report).await;
        report.outputs.push(verified);
    }
    Ok(report)
}

async fn verify_pack(request: &StreamRequest, world: &LocatedWorld, report: &mut VerifyReport) {
    let expectation = PackExpectation {
        posture: request.profile.posture,
        world_key: &world.world_key,
        catalogue_digest: world.catalogue.digest(),
        gate_map_digest: world.gate_map.digest(),
        oracle_pack_id: None,
    };
    match check_pack(&world.store, &expectation).await {
        Ok(pack) => {
            if pack.oracle_pack_id.is_none() {
                let detail = "The world has no pack manifest: its cursors go by the root's name.";
                report.find(Verdict::Warn, "NOT_PACKED", detail.to_owned());
            } else if pack.seal != SealKind::Json {
                let detail = "The pack has no JSON seal; strict posture refuses it.";
                report.find(Verdict::Warn, "NOT_SEALED", detail.to_owned());
            }
            report.pack = Some(pack);
        }
        Err(error) => report.fail(&Error::from(error)),
    }
}

async fn verify_gates(world: &LocatedWorld, report: &mut VerifyReport) {
    let outputs: Vec<_> = world
        .outputs
        .iter()
        .map(|o| o.entry.output_id.clone())
        .collect();
    let request = ClearanceRequest {
        store: &world.store,
        tokens: &world.tokens,
        catalogue: &world.catalogue,
        gate_map: &world.gate_map,
        outputs: &outputs,
        mode: VerificationMode::Digest,
        posture: report.posture,
        require_gate_pass: true,
    };
    if let Err(error) = gates::check_agreement(&request) {
        report.fail(&Error::Gates(error));
    }
    let receipts = match gates::verify_gates(&request).await {
        Ok(receipts) => receipts,
        Err(error) => return report.fail(&Error::Gates(error)),
    };
    for receipt in &receipts {
        if let (GateStatus::Fail, Some(failure)) = (receipt.status, &receipt.failure) {
            report.find(Verdict::Fail, &failure.code, failure.detail.clone());
        }
        if !receipt.unbound_items.is_empty() {
            let detail = format!(
                "{}: {} item(s) of its index are bound by nothing.",
                receipt.gate_id,
                receipt.unbound_items.len()
            );
            report.find(Verdict::Warn, "GATE_ITEMS_UNBOUND", detail);
        }
    }
    report.gates = receipts;
}

async fn locate_outputs<'a>(
    world: &'a LocatedWorld,
    report: &mut VerifyReport,
) -> Vec<(&'a SelectedOutput, OutputLocator)> {
    let mut located = Vec::with_capacity(world.outputs.len());
    for selected in &world.outputs {
        match locate(&world.store, &selected.entry, &world.tokens).await {
            Ok(output) => located.push((selected, output)),
            Err(error) => report.fail(&Error::from(error)),
        }
    }
    located
}

/// Folders in the place of parts, in any output of the catalogue; unless locating the selected
/// ones has found one.
async fn refuse_folders(world: &LocatedWorld, report: &mut VerifyReport) {
    let code = oracle_store::ReasonCode::UnsupportedOutputFormat.as_str();
    if report.findings.iter().any(|finding| finding.reason == code) {
        return;
    }
    let places = DataPlaces::of(&world.catalogue, &world.tokens);
    if let Err(error) = places.refuse_folders(&world.store).await {
        report.fail(&Error::from(error));
    }
}

/// Contents index and instance receipts.
async fn verify_data(
    world: &LocatedWorld,
    located: &[(&SelectedOutput, OutputLocator)],
    options: VerifyOptions,
    report: &mut VerifyReport,
) {
    let pack_id = report
        .pack
        .as_ref()
        .and_then(|pack| pack.oracle_pack_id.clone());
    let Some(pack_id) = pack_id else {
        if options.data {
            let detail = "No data was hashed: without a pack manifest there is no contents index \
                          to hash against. Pack the world to have its data verified.";
            report.find(Verdict::Warn, "DATA_NOT_HASHED", detail.to_owned());
        }
        return;
    };
    let contents = match ContentsIndex::load_if_exists(&world.store, &pack_id).await {
        Ok(Some(contents)) => contents,
        Ok(None) if options.data => {
            return report.fail(&Error::from(ContentsIndex::missing(&world.store)));
        }
        Ok(None) => {
            let detail = "The pack has no contents index: nothing proves the data itself.";
            return report.find(Verdict::Warn, "NO_CONTENTS_INDEX", detail.to_owned());
        }
        Err(error) => return report.fail(&Error::from(error)),
    };
    let mut summary = json!({
        "objects": contents.objects().len(), "bytes": contents.bytes(), "verified": "none",
    });
    if options.data {
        match contents
            .verify_world(&world.store, DataVerification::Sha256)
            .await
        {
            Ok(found) => {
                summary["verified"] = "sha256".into();
                summary["bytes_hashed"] = found.bytes_hashed.into();
                found
                    .faults
                    .into_iter()
                    .for_each(|fault| report.fail(&Error::from(fault)));
            }
            Err(error) => report.fail(&Error::from(error)),
        }
        instance_proofs(world, located, report).await;
    } else {
        for (_, output) in located {
            if let Err(error) = contents.check_parts(&world.store, output) {
                report.fail(&Error::from(error));
            }
        }
    }
    report.contents = Some(summary);
}

async fn instance_proofs(
    world: &LocatedWorld,
    located: &[(&SelectedOutput, OutputLocator)],
    report: &mut VerifyReport,
) {
    for (selected, output) in located {
        match verify_instance_proof(&world.store, &selected.entry, &world.tokens, output).await {
            Ok(Some(proof)) => report.instance_proofs.push(json!({
                "output_id": selected.entry.output_id, "path": proof.path,
                "digest": proof.digest, "bytes_hashed": proof.bytes_hashed,
            })),
            Ok(None) => {}
            Err(error) => report.fail(&Error::from(error)),
        }
    }
}

async fn describe(
    world: &LocatedWorld,
    selected: &SelectedOutput,
    output: &OutputLocator,
    options: VerifyOptions,
    report: &mut VerifyReport,
) -> OutputVerification {
    let mut described = OutputVerification {
        output_id: output.output_id.clone(),
        role: selected.role,
        parts: output.parts.len(),
        bytes: output.bytes(),
        rows: None,
        first_ts_utc: None,
        last_ts_utc: None,
        time_order: "unknown".into(),
    };
    let (store, parts) = (world.store.clone(), output.parts.clone());
    let looked = tokio::task::spawn_blocking(move || {
        let footers = parts
            .iter()
            .map(|part| footer(&store, part).map_err(Error::from));
        let rows: Vec<_> = footers
            .map(|footer| footer.map(|footer| footer.rows))
            .collect();
        let times = options.order.then(|| {
            let cache = TimeIndexCache::empty();
            let mut index = TimeIndex::new(store.clone(), cache, 2);
            parts
                .iter()
                .map(|part| index.learn(&[part], &Ending::default()))
                .collect::<Vec<_>>()
        });
        (rows, times, parts)
    });
    let Ok((rows, times, parts)) = looked.await else {
        let what = "The thread that reads footers ended too early";
        report.fail(&Error::new(
            replay::ReasonCode::StreamInternal,
            what,
            "Report this.",
        ));
        return described;
    };
    let mut counted = Some(0);
    for rows in rows {
        match rows {
            Ok(rows) => counted = counted.zip(rows).map(|(sum, rows)| sum + rows),
            Err(error) => {
                counted = None;
                report.fail(&error);
            }
        }
    }
    described.rows = counted;
    let mut known: Vec<Arc<PartTimes>> = Vec::new();
    for (part, times) in parts.iter().zip(times.into_iter().flatten()) {
        match times {
            Ok(times) => known.extend(times),
            Err(error) => report.fail(&error.into()),
        }
        if let Some(disorder) = known.last().and_then(|times| times.disorder()) {
            let fix =
                "It is streamed in event time by sorting, within `wsp_order.sort_budget_mib`.";
            let detail = disorder.error(part, fix).detail();
            report.find(
                Verdict::Warn,
                replay::ReasonCode::EventTimeDisorder.as_str(),
                detail,
            );
        }
    }
    if options.order {
        let disordered = known
            .iter()
            .filter(|times| times.disorder().is_some())
            .count();
        described.time_order =
            json!({"in_order": known.len() - disordered, "not_in_order": disordered});
        let first = known.iter().filter_map(|times| times.first()).min();
        let last = known.iter().filter_map(|times| times.last()).max();
        described.first_ts_utc = first.map(|row| row.time.to_string());
        described.last_ts_utc = last.map(|row| row.time.to_string());
    }
    described
}

//! All evidence of one world, looked at to the end: `verify` lists every fault and
//! never stops at the first.
//!
//! It makes the checks that a plan makes, in their order ([`gates::Check`]), always by digest,
//! and reads no payload: with `order` the time columns, with `data` the bytes of every object of
//! the pack. It writes nothing.

use std::fmt;
use std::sync::Arc;

use gates::{
    AttestError, Check, ContentsFound, Examination, GateReceipt, IdentifiedWorld, LocatedOutput,
    ViewTrust,
};
use model::{EngineRunId, Hex64, OutputId};
use oracle_store::{
    OutputLocator, PackEvidence, Part, Posture, SealKind, StreamView, WorldKey, WorldStore, footer,
};
use serde::Serialize;

use crate::Error;
use crate::blocking::blocking_as;
use crate::plan::locate_world;
use crate::plan::selection::{Role, SelectedOutput, check_key};
use crate::plan::sources::{ViewReport, is_view_asked};
use crate::plan::timed;
use crate::profile::request::StreamRequest;
use replay::{Ending, PartTimes, TimeIndex, TimeIndexCache, check_view_order};

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
    /// Whether the world may be streamed all the same.
    pub verdict: Verdict,
    /// A reason code, or the name of a warning.
    pub reason: String,
    /// What was found, where, and what to do about it.
    pub detail: String,
}

impl Finding {
    fn fail(error: &Error) -> Self {
        Self::new(Verdict::Fail, error.code(), error.detail())
    }

    fn refusal(refusal: &AttestError) -> Self {
        let (code, detail) = (refusal.code().as_str(), model::with_causes(refusal));
        Self::new(Verdict::Fail, code, detail)
    }

    fn warn(reason: &str, detail: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, reason, detail)
    }

    fn new(verdict: Verdict, reason: &str, detail: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.to_owned(),
            detail: detail.into(),
        }
    }
}

/// The format of the report of `verify`.
const VERIFY_FORMAT: u32 = 1;

/// All that `verify` found.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The version of the report's format: 1, of which are also those that do not say it.
    pub format_version: u32,
    /// The worst of the findings.
    pub status: Verdict,
    /// The first failure's reason code; `None` where nothing failed.
    pub reason: Option<String>,
    /// Everything that is wrong or worth knowing, in the order of the checks.
    pub findings: Vec<Finding>,
    /// Where the world is; `None` where it was not located.
    pub engine_run_root: Option<String>,
    /// The posture that decides how much evidence must stand.
    pub posture: Posture,
    /// The key of the world; `None` where it was not located.
    pub world_key: Option<WorldKey>,
    /// The id of the engine run; `None` where the world was not located.
    pub run_id: Option<EngineRunId>,
    /// What manifest and seal say; `None` where they were refused.
    pub pack: Option<PackEvidence>,
    /// Every required gate, with what it depends on.
    pub gates: Vec<GateReceipt>,
    /// The contents index, and what hashing against it gave; `None` where there is none.
    pub contents: Option<ContentsFound>,
    /// Instance receipts that stand and hold.
    pub instance_proofs: Vec<InstanceProofFound>,
    /// Each output that was located.
    pub outputs: Vec<OutputVerification>,
}

/// An instance receipt that holds.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceProofFound {
    /// How many bytes were hashed.
    pub bytes_hashed: u64,
    /// The sha256 of the parts' bytes in name order.
    pub digest: Hex64,
    /// The output.
    pub output_id: OutputId,
    /// The receipt's key.
    pub path: String,
}

/// What was found of one output.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct OutputVerification {
    /// The output.
    pub output_id: OutputId,
    /// The role of the output on the platform.
    pub role: Role,
    /// Number of parts.
    pub parts: usize,
    /// The length of all parts together, in bytes.
    pub bytes: u64,
    /// The rows of all parts; `None` where a part does not say so.
    pub rows: Option<u64>,
    /// The first event time; `None` without `order`.
    pub first_ts_utc: Option<String>,
    /// The last event time; `None` without `order`.
    pub last_ts_utc: Option<String>,
    /// Whether rows stand in time order.
    pub time_order: TimeOrder,
    /// The output's stream view that holds; absent where none is asked for by `stream_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewReport>,
}

/// Whether the parts of an output are in time order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeOrder {
    /// Their times were not read.
    Unknown,
    /// So many are, and so many are not.
    #[serde(untagged)]
    Parts {
        /// Parts in time order.
        in_order: usize,
        /// Parts with a row that comes before an earlier one.
        not_in_order: usize,
    },
}

impl fmt::Display for TimeOrder {
    /// As the report has it: `"unknown"`, or an object with both numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("\"unknown\""),
            Self::Parts {
                in_order,
                not_in_order,
            } => write!(
                f,
                "{{\"in_order\":{in_order},\"not_in_order\":{not_in_order}}}"
            ),
        }
    }
}

impl VerifyReport {
    /// What is known of a world that was not located.
    fn of(posture: Posture, findings: Vec<Finding>) -> Self {
        let mut failures = findings.iter().filter(|f| f.verdict == Verdict::Fail);
        Self {
            format_version: VERIFY_FORMAT,
            reason: failures.next().map(|failure| failure.reason.clone()),
            status: findings
                .iter()
                .map(|finding| finding.verdict)
                .max()
                .unwrap_or(Verdict::Ok),
            findings,
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
    let profile = &request.profile;
    let posture = profile.posture;
    let world = match locate_world(request).await {
        Ok(world) => world,
        Err(error) if error.class() == model::Class::Usage => return Err(error),
        Err(error) => return Ok(VerifyReport::of(posture, vec![Finding::fail(&error)])),
    };
    let examined = world.identified.clone().examine(options.data).await;
    let mut findings = findings_of(&examined, &world.outputs, options);
    let mut outputs = Vec::with_capacity(examined.outputs.len());
    for output in &examined.outputs {
        let store = world.identified.store();
        let of_id = |selected: &&SelectedOutput| selected.entry.output_id == *output.id();
        if let Some(selected) = world.outputs.iter().find(of_id) {
            let locator = timed(profile, output.locator.clone());
            let (mut described, more) = describe(store, selected.role, locator, options).await;
            findings.extend(more);
            let viewed = Viewed {
                request,
                identified: &world.identified,
                output,
            };
            match viewed.verify(options.order).await {
                Ok(view) => described.view = view,
                Err(error) => findings.push(Finding::fail(&error)),
            }
            outputs.push(described);
        }
    }
    let proofs = examined.instance_proofs.into_iter();
    let proofs = proofs.map(|(output_id, proof)| InstanceProofFound {
        bytes_hashed: proof.bytes_hashed,
        digest: proof.digest,
        output_id,
        path: proof.path,
    });
    Ok(VerifyReport {
        format_version: VERIFY_FORMAT,
        engine_run_root: Some(world.identified.store().root().as_str().to_owned()),
        world_key: Some(world.identified.world_key().clone()),
        run_id: Some(world.identified.receipt().run_id.clone()),
        pack: examined.pack,
        gates: examined.gates,
        contents: examined.contents,
        instance_proofs: proofs.collect(),
        outputs,
        ..VerifyReport::of(posture, findings)
    })
}

/// An output whose stream view is looked at.
struct Viewed<'a> {
    request: &'a StreamRequest,
    identified: &'a IdentifiedWorld,
    output: &'a LocatedOutput,
}

impl Viewed<'_> {
    /// Checks the view that a stream would read, with `order` its time columns too; `None` where
    /// it would read the output.
    async fn verify(&self, order: bool) -> Result<Option<ViewReport>, Error> {
        let profile = &self.request.profile;
        let store = self.identified.store();
        if !is_view_asked(store, self.output, profile.stream_source).await? {
            return Ok(None);
        }
        let trust = ViewTrust::of(profile.posture, profile.trust_stream_views);
        trust.check(store, self.output.id()).await?;
        let world_key = self.identified.world_key();
        let view = StreamView::open(store, world_key, &self.output.locator).await?;
        let parts = timed(profile, view.locator().clone()).parts;
        let store = store.clone();
        if order {
            let what = "The thread that reads time columns ended too early";
            blocking_as(what, move || {
                let mut index = TimeIndex::new(store, TimeIndexCache::empty(), 2);
                let times = index.learn(&parts.iter().collect::<Vec<_>>(), &Ending::default())?;
                check_view_order(&parts, &times)
            })
            .await?;
        }
        Ok(Some(ViewReport::of(&view)))
    }
}

/// What the checks found, in their order, each check's warnings behind its refusals.
fn findings_of(
    examined: &Examination,
    outputs: &[SelectedOutput],
    options: VerifyOptions,
) -> Vec<Finding> {
    let of = |check: Check| {
        let refusals = examined.refusals.iter();
        let refusals = refusals.filter(move |refusal| refusal.check() == check);
        refusals.map(Finding::refusal)
    };
    let mut findings: Vec<Finding> = of(Check::Pack).collect();
    findings.extend(pack_warning(examined.pack.as_ref()));
    findings.extend(of(Check::Closure));
    findings.extend(of(Check::Agreement));
    findings.extend(gate_findings(examined));
    let keys = outputs
        .iter()
        .filter_map(|output| check_key(&output.entry).err());
    findings.extend(keys.map(|error| Finding::fail(&error)));
    findings.extend(of(Check::Parts));
    findings.extend(of(Check::Data));
    findings.extend(data_warning(examined, options));
    findings
}

fn pack_warning(pack: Option<&PackEvidence>) -> Option<Finding> {
    let pack = pack?;
    if pack.oracle_pack_id.is_none() {
        let detail = "The world has no pack manifest: its cursors go by the root's name.";
        return Some(Finding::warn("NOT_PACKED", detail));
    }
    let detail = "The pack has no JSON seal; strict posture refuses it.";
    (pack.seal != SealKind::Json).then(|| Finding::warn("NOT_SEALED", detail))
}

/// The gates' faults, each beside its gate's warning. Gates that the map does not have or that
/// need each other were refused before any was looked at.
fn gate_findings(examined: &Examination) -> Vec<Finding> {
    let mut findings = Vec::new();
    for receipt in &examined.gates {
        if let Some(failure) = &receipt.failure
            && !lies_outside(examined, receipt)
        {
            let detail = failure.detail.clone();
            findings.push(Finding::new(Verdict::Fail, &failure.code, detail));
        }
        if !receipt.unbound_items.is_empty() {
            let detail = format!(
                "{}: {} item(s) of its index are bound by nothing.",
                receipt.gate_id,
                receipt.unbound_items.len()
            );
            findings.push(Finding::warn("GATE_ITEMS_UNBOUND", detail));
        }
    }
    // Two gates that hold may have hashed other bytes under one name.
    let between = examined.refusals.iter().filter(|refusal| {
        let mut failed = examined.gates.iter().filter(|gate| gate.failure.is_some());
        refusal.check() == Check::Gates
            && failed.all(|gate| refusal.gate_id() != Some(&gate.gate_id))
    });
    findings.extend(between.map(Finding::refusal));
    findings
}

/// Whether the closure of the gates has refused the gate of a receipt.
fn lies_outside(examined: &Examination, receipt: &GateReceipt) -> bool {
    let mut refusals = examined.refusals.iter();
    refusals.any(|refusal| {
        refusal.check() == Check::Closure && refusal.gate_id() == Some(&receipt.gate_id)
    })
}

fn data_warning(examined: &Examination, options: VerifyOptions) -> Option<Finding> {
    let pack = examined.pack.as_ref();
    if pack.is_none_or(|pack| pack.oracle_pack_id.is_none()) {
        let detail = "No data was hashed: without a pack manifest there is no contents index \
                      to hash against. Pack the world to have its data verified.";
        return options
            .data
            .then(|| Finding::warn("DATA_NOT_HASHED", detail));
    }
    let is_refused = examined.refusals.iter().any(|r| r.check() == Check::Data);
    let detail = "The pack has no contents index: nothing proves the data itself.";
    (examined.contents.is_none() && !is_refused).then(|| Finding::warn("NO_CONTENTS_INDEX", detail))
}

/// What reading footers and times of an output gave, part by part.
struct Looked {
    rows: Vec<Result<Option<u64>, Error>>,
    times: Vec<Result<Option<Arc<PartTimes>>, replay::Error>>,
    parts: Vec<Part>,
}

/// Reads the footers of an output and, where the order is asked for, its time columns. Blocks.
fn look(store: WorldStore, parts: Vec<Part>, order: bool) -> Looked {
    let rows = parts.iter().map(|part| {
        let footer = footer(&store, part).map_err(Error::from);
        footer.map(|footer| footer.rows)
    });
    let rows = rows.collect();
    let mut times = Vec::new();
    if order {
        let mut index = TimeIndex::new(store.clone(), TimeIndexCache::empty(), 2);
        let learnt = parts.iter().map(|part| {
            let mut learnt = index.learn(&[part], &Ending::default())?;
            Ok(learnt.pop())
        });
        times = learnt.collect();
    }
    Looked { rows, times, parts }
}

async fn describe(
    store: &WorldStore,
    role: Role,
    locator: OutputLocator,
    options: VerifyOptions,
) -> (OutputVerification, Vec<Finding>) {
    let mut described = OutputVerification {
        output_id: locator.output_id.clone(),
        role,
        parts: locator.parts.len(),
        bytes: locator.bytes(),
        rows: None,
        first_ts_utc: None,
        last_ts_utc: None,
        time_order: TimeOrder::Unknown,
        view: None,
    };
    let (store, parts) = (store.clone(), locator.parts.clone());
    let what = "The thread that reads footers ended too early";
    let looking = blocking_as(what, move || {
        Ok::<_, Error>(look(store, parts, options.order))
    });
    let looked = match looking.await {
        Ok(looked) => looked,
        Err(error) => return (described, vec![Finding::fail(&error)]),
    };
    let mut findings = Vec::new();
    let mut counted = Some(0);
    for rows in looked.rows {
        match rows {
            Ok(rows) => counted = counted.zip(rows).map(|(sum, rows)| sum + rows),
            Err(error) => {
                counted = None;
                findings.push(Finding::fail(&error));
            }
        }
    }
    described.rows = counted;
    let mut known: Vec<Arc<PartTimes>> = Vec::new();
    for (part, times) in looked.parts.iter().zip(looked.times) {
        let times = match times {
            Ok(times) => times,
            Err(error) => {
                findings.push(Finding::fail(&error.into()));
                continue;
            }
        };
        if let Some(disorder) = times.as_ref().and_then(|times| times.disorder()) {
            let fix = "It is streamed in event time by sorting it into the sort cache first.";
            let detail = disorder.error(part, fix).detail();
            let code = replay::ReasonCode::EventTimeDisorder.as_str();
            findings.push(Finding::warn(code, detail));
        }
        known.extend(times);
    }
    if options.order {
        describe_times(&mut described, &known);
    }
    (described, findings)
}

fn describe_times(described: &mut OutputVerification, known: &[Arc<PartTimes>]) {
    let disordered = known.iter().filter(|times| times.disorder().is_some());
    let not_in_order = disordered.count();
    described.time_order = TimeOrder::Parts {
        in_order: known.len() - not_in_order,
        not_in_order,
    };
    let first = known.iter().filter_map(|times| times.first()).min();
    let last = known.iter().filter_map(|times| times.last()).max();
    described.first_ts_utc = first.map(|row| row.time.to_string());
    described.last_ts_utc = last.map(|row| row.time.to_string());
}

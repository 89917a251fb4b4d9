//! One lane: takes events from its queue, pushes each until something final is
//! known, and tells the keeper.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envelope::EventId;
use tokio::sync::mpsc;

use crate::ending::Cause;
use crate::lanes::gate_figures::BusyLane;
use crate::lanes::stamp::EmissionStamp;
use crate::lanes::{HandedOver, LaneQueue};
use crate::place::{NamePosition, Position};
use crate::quarantine::RejectReason;
use crate::run::Run;
use crate::tap::Outcome;
use crate::time::WallNs;
use crate::{Error, ReasonCode};
use model::Clock;
use push::{AnswerDetails, Decision, GateRefusal, PushLane, PushOutcome, Pusher};

/// What became of an event that was handed over.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The output's place in the list.
    pub output: usize,
    /// The event's number in its output.
    pub sequence: u64,
    /// Where it stands in its output.
    pub position: Position,
    /// The event's identity.
    pub id: EventId,
    /// When it was due.
    pub due: Option<WallNs>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an event that was handed over.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The gate acknowledged it.
    Acknowledged {
        /// What the gate decided.
        decision: Decision,
        /// When its first post began.
        sent: WallNs,
        /// When the acknowledgement was whole.
        answered: WallNs,
        /// What the gate said of it; absent where nobody asks.
        told: Option<Box<ToldAnswer>>,
    },
    /// The gate will not have it, and it is to be set aside.
    Rejected(Box<Rejection>),
    /// It was never sent: the stream winds down.
    HandedBack,
    /// It may have been sent, and nobody knows: the drain's time was over.
    Abandoned,
    /// The gate will not have it; the lane has told the stream to end for it.
    Refused,
    /// It will not be acknowledged, and nobody knows whether the gate would have it; the lane has
    /// told the stream to end for it.
    Failed,
}

impl Fate {
    /// The gate's decision, or what became of the event instead.
    fn as_str(&self) -> &'static str {
        match self {
            Self::Acknowledged { decision, .. } => decision.as_str(),
            Self::Rejected(rejection) => match rejection.reason {
                RejectReason::Rejected => "REJECTED",
                RejectReason::FailedAlone => "FAILED_ALONE",
                RejectReason::InDoubt => "IN_DOUBT",
            },
            Self::HandedBack => "HANDED_BACK",
            Self::Abandoned => "ABANDONED",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        }
    }
}

/// What the gate said of an event that it acknowledged.
#[derive(Debug)]
pub(crate) struct ToldAnswer {
    /// The id of the event; empty if its envelope does not begin with one.
    pub event_id: String,
    /// What the answer says beside its decision.
    pub details: AnswerDetails,
}

/// Why the gate will not have an event.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// Whether it refused, or failed on this event alone.
    pub reason: RejectReason,
    /// Its last answer.
    pub refusal: GateRefusal,
    /// Posts made.
    pub attempts: u32,
    /// The envelope as it was pushed.
    pub envelope: Bytes,
}

/// What all lanes of a stream share.
pub(crate) struct LaneContext {
    run: Run,
    /// The gate's URL, shown in error messages only.
    endpoint: String,
    places: Arc<dyn NamePosition>,
    /// Whether rejected events are set aside instead of ending the stream.
    quarantines: bool,
    /// Whether an event that the gate quarantines ends the stream.
    stops_on_gate_quarantine: bool,
}

impl LaneContext {
    /// The lanes of a stream push to `endpoint`. With `quarantines`, rejected events are set aside;
    /// else the first one ends the stream. With `stops_on_gate_quarantine` the first event that the
    /// gate quarantines ends it, too.
    pub(crate) fn new(
        run: Run,
        endpoint: &str,
        places: Arc<dyn NamePosition>,
        quarantines: bool,
        stops_on_gate_quarantine: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            run,
            endpoint: endpoint.to_owned(),
            places,
            quarantines,
            stops_on_gate_quarantine,
        })
    }

    /// Waits until a lane may have an event to begin; `false` if the stream winds down first.
    async fn may_begin(&self) -> bool {
        self.run.sending().may_begin(self.run.ending()).await
    }

    /// What became of an event, for whoever taps.
    fn told(
        &self,
        fate: &Fate,
        id: Option<[u8; 64]>,
        due: Option<WallNs>,
        (output, position): (usize, Position),
    ) -> Outcome {
        let wall = |at: WallNs| self.run.start().wall_time(at);
        let (sent, answered) = match fate {
            Fate::Acknowledged { sent, answered, .. } => (Some(wall(*sent)), Some(wall(*answered))),
            _ => (None, None),
        };
        Outcome {
            event_id: text_of(id),
            output,
            position,
            place: self.places.name(output, &position),
            due: due.map(wall),
            sent,
            answered,
            what: fate.as_str(),
        }
    }
}

/// One lane: a queue, a connection, and where its answers go.
pub(crate) struct Lane<L, C> {
    queue: LaneQueue,
    pusher: Pusher<L, C>,
    answers: mpsc::Sender<Answered>,
    context: Arc<LaneContext>,
    stamp: Option<EmissionStamp<C>>,
    busy: BusyLane,
}

impl<L: PushLane, C: Clock> Lane<L, C> {
    /// A lane that takes events from `queue`, pushes them by `pusher`, and sends what became of them
    /// to `answers`.
    pub(crate) fn new(
        queue: LaneQueue,
        pusher: Pusher<L, C>,
        answers: mpsc::Sender<Answered>,
        context: Arc<LaneContext>,
    ) -> Self {
        Self {
            queue,
            pusher,
            answers,
            context,
            stamp: None,
            busy: BusyLane::default(),
        }
    }

    /// Has the lane say by `flag` whether it is busy.
    pub(crate) fn flagged(mut self, flag: BusyLane) -> Self {
        self.busy = flag;
        self
    }

    /// Has each envelope say when its event set out; `None` leaves envelopes as they are framed.
    pub(crate) fn stamping(mut self, stamp: Option<EmissionStamp<C>>) -> Self {
        self.stamp = stamp;
        self
    }

    /// Works until the queue is closed and empty.
    pub(crate) async fn run(mut self) {
        let context = Arc::clone(&self.context);
        while let Ok(event) = self.queue.recv().await {
            let HandedOver {
                output,
                sequence,
                position,
                id: event_id,
                due,
                body,
            } = event;
            let fate = if context.may_begin().await {
                self.busy.set(true);
                let body = match &mut self.stamp {
                    Some(stamp) => stamp.stamped(body),
                    None => body,
                };
                let kept = self.context.quarantines.then(|| body.clone());
                let id = event_id_in(&body);
                let claim = context.run.taps().claim(&body);
                let outcome = self.pusher.push(body).await;
                if matches!(&outcome, PushOutcome::Rejected { attempts: 0, .. }) {
                    self.context.run.sending().passed_unposted();
                }
                self.busy.set(false);
                let fate = self.fate(outcome, kept, id, (output, &position));
                if let Some(claim) = claim {
                    claim.settle(context.told(&fate, id, due, (output, position)));
                }
                fate
            } else {
                Fate::HandedBack
            };
            let answered = Answered {
                output,
                sequence,
                position,
                id: event_id,
                due,
                fate,
            };
            if self.answers.send(answered).await.is_err() {
                return;
            }
        }
    }

    /// `kept` is the envelope, where it is to be set aside if the gate will not have it.
    fn fate(
        &self,
        outcome: PushOutcome,
        kept: Option<Bytes>,
        id: Option<[u8; 64]>,
        (output, position): (usize, &Position),
    ) -> Fate {
        let failed = |code, said: String, fix: &str| {
            let event = self.context.places.name(output, position);
            let what = format!(
                "The ingestion gate {} {said} for {event}",
                self.context.endpoint
            );
            // Here and now, so that no lane begins another event on the way to the keeper.
            self.context
                .run
                .ending()
                .wind_down(Cause::Failed(Error::new(code, what, fix)));
            match code {
                ReasonCode::IgPushRejected | ReasonCode::IgPublishAmbiguous => Fate::Refused,
                _ => Fate::Failed,
            }
        };
        let set_aside = |envelope, reason, refusal, attempts| {
            Fate::Rejected(Box::new(Rejection {
                reason,
                refusal,
                attempts,
                envelope,
            }))
        };
        match (outcome, kept) {
            (PushOutcome::Rejected { refusal, attempts }, Some(envelope))
                if !refusal.judges_the_sender() =>
            {
                set_aside(envelope, RejectReason::Rejected, refusal, attempts)
            }
            (PushOutcome::SingledOut { refusal, attempts }, Some(envelope)) => {
                set_aside(envelope, RejectReason::FailedAlone, refusal, attempts)
            }
            (PushOutcome::InDoubt { refusal, attempts }, Some(envelope)) => {
                set_aside(envelope, RejectReason::InDoubt, refusal, attempts)
            }
            (outcome, _) => self.final_fate(outcome, id, failed),
        }
    }

    fn final_fate(
        &self,
        outcome: PushOutcome,
        id: Option<[u8; 64]>,
        failed: impl FnOnce(ReasonCode, String, &str) -> Fate,
    ) -> Fate {
        match outcome {
            PushOutcome::Acknowledged {
                decision: Decision::Quarantine,
                details,
                ..
            } if self.context.stops_on_gate_quarantine => {
                let details = details.unwrap_or_default();
                let codes = details.reason_codes.join(", ");
                let receipt = details.receipt_ref.as_deref().unwrap_or("none");
                failed(
                    ReasonCode::GateQuarantined,
                    format!("quarantined (reason codes: {codes}; receipt: {receipt}) the event"),
                    "Mend what it names; a rerun resumes with this event. \
                     `wsp_push.on_gate_quarantine: continue` lets such events pass.",
                )
            }
            PushOutcome::Acknowledged {
                decision,
                sent_at,
                acked_at,
                details,
                ..
            } => Fate::Acknowledged {
                decision,
                sent: self.context.run.at(sent_at),
                answered: self.context.run.at(acked_at),
                told: details.map(|details| {
                    Box::new(ToldAnswer {
                        event_id: text_of(id),
                        details: *details,
                    })
                }),
            },
            PushOutcome::Rejected { refusal, .. } => failed(
                ReasonCode::IgPushRejected,
                format!("answered {refusal}"),
                what_to_do(&refusal),
            ),
            PushOutcome::Unknown(refusal) => failed(
                ReasonCode::IgResponseUnknown,
                format!("answered without a decision ({refusal})"),
                "Look whether `ig_ingest_url` names an ingestion gate; a rerun resumes here.",
            ),
            PushOutcome::SingledOut { refusal, attempts } => failed(
                ReasonCode::IgPushRejected,
                format!(
                    "failed {attempts} times, the last time with {refusal}, and took other events,"
                ),
                "Look at its log for this event; a rerun resumes here.",
            ),
            PushOutcome::InDoubt { refusal, attempts } => failed(
                ReasonCode::IgPublishAmbiguous,
                format!(
                    "does not know whether the event is on its bus ({attempts} tries, the last: \
                     {refusal})"
                ),
                "Look on the bus whether it is there. A rerun asks again; `wsp_push.on_reject: quarantine` sets \
                 such events aside, and `redrive --give-up ID` closes one.",
            ),
            PushOutcome::GaveUp {
                attempts,
                failing,
                last,
            } => failed(
                ReasonCode::IgPushRetryExhausted,
                format!(
                    "did not take an event for {} s ({attempts} tries, the last: {last})",
                    whole_seconds(failing)
                ),
                "Bring it back; a rerun resumes here. `wsp_retry.give_up_after_s` bounds the wait.",
            ),
            PushOutcome::Cancelled { maybe_sent: true } => Fate::Abandoned,
            PushOutcome::Cancelled { maybe_sent: false } => Fate::HandedBack,
        }
    }
}

/// The id as text; empty where there is none.
fn text_of(id: Option<[u8; 64]>) -> String {
    let text = id.map(|id| String::from_utf8_lossy(&id).into_owned());
    text.unwrap_or_default()
}

/// The id that an envelope begins with; `None` where it begins with something else.
fn event_id_in(envelope: &[u8]) -> Option<[u8; 64]> {
    let id = envelope.strip_prefix(br#"{"event_id":""#)?;
    id.first_chunk().copied()
}

/// What to do about a final refusal.
pub fn what_to_do(refusal: &GateRefusal) -> &'static str {
    match refusal.status {
        401 | 403 => {
            "It does not take, or no longer takes, this producer's token: renew what \
             `wiring.security.wsp_auth_token` names (`IG_SERVICE_TOKEN` in the shipped profiles); \
             a rerun resumes with this event."
        }
        407 => {
            "A proxy on the way wants credentials: mend the way to `ig_ingest_url`; \
             a rerun resumes with this event."
        }
        300..=399 => {
            "It sends us elsewhere, and events go to a named gate only: mend `ig_ingest_url`; \
             a rerun resumes with this event."
        }
        404 | 405 => {
            "Look whether `ig_ingest_url` names an ingestion gate; a rerun resumes with this event."
        }
        _ => {
            "Mend what it names; a rerun resumes with this event. `wsp_push.on_reject: quarantine` \
             sets such events aside."
        }
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs_f64().round() as u64
}

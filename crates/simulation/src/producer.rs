//! One producer of a simulated world: takes its lease, resumes, streams, gives the lease back, all
//! by the code of production.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkpoint::{
    CheckpointStore, CursorKey, Holder, LeaseRequest, OrderMode, PackKey, ResumePlan, RowSource,
    resume_check,
};
use durable::simulated::CrashDisk;
use model::{SharedClock, SharedRandom};
use push::{ClientOptions, DirectClient, PushEndpoint, RetryPolicy, Trouble};
use replay::{
    AsWritten, Cause, Concurrency, Course, Crew, Cursors, Ending, Engine, Error, EventOrder,
    FeedPool, Gateway, Happening, HeldLease, Helm, Journal, Kept, KeptOutput, LaneCount,
    LaneOrdering, LaneSettings, Merge, Outcome, Position, Quarantine, QuarantineFile, Ran,
    RejectedEvent, Schedule, SetAside, Speedup, Start, WhenLate, watch_lease,
};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::quarantine_path;
use crate::gate::{SimConnector, SimGate, event_in};
use crate::laws::{Laws, NotBefore};
use crate::stage::ProcessId;
use crate::store::position;
use crate::world::{PLATFORM_RUN, SimParts, SimWorld};

/// The plan digest that all cursors of a simulation are bound to.
const PLAN: &str = "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";
/// How long a store that did not take the last save may take to take the leases back.
const LAST_TRY: Duration = Duration::from_secs(1);

/// What all producers of a simulation are told to do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) lanes: u64,
    pub(crate) is_adaptive: bool,
    pub(crate) flush_every: u64,
    pub(crate) lease_period: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) save_timeout: Duration,
    pub(crate) post_timeout: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) give_up_after: Duration,
    pub(crate) sets_aside: bool,
    /// Event seconds a second; 0 for as fast as possible.
    pub(crate) speedup: f64,
    pub(crate) slips: bool,
    pub(crate) chunk_rows: usize,
}

impl Settings {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        Self {
            lanes: dice.one_of(&[1, 2, 3, 8, 16]),
            is_adaptive: dice.permille(500),
            flush_every: dice.one_of(&[1, 2, 7, 50, 400]),
            lease_period: Duration::from_secs(dice.one_of(&[3, 10, 30])),
            drain_timeout: Duration::from_secs(dice.between(0, 10)),
            save_timeout: Duration::from_secs(dice.between(1, 30)),
            post_timeout: Duration::from_secs(dice.one_of(&[1, 5, 30])),
            max_attempts: dice.between(1, 6) as u32,
            give_up_after: Duration::from_secs(dice.one_of(&[60, 900])),
            sets_aside: dice.permille(600),
            speedup: dice.one_of(&[0.0, 0.0, 10.0, 600.0, 3_600.0]),
            slips: dice.permille(300),
            chunk_rows: dice.one_of(&[1, 3, 32, 1_000]),
        }
    }

    /// The most events that a crash may have repeated.
    pub(crate) fn window(&self) -> usize {
        (self.flush_every + self.lanes) as usize
    }

    /// The longest that a stop may take.
    pub(crate) fn stop_bound(&self) -> Duration {
        self.drain_timeout + self.save_timeout + LAST_TRY * 2
    }

    fn lane_settings(&self) -> LaneSettings {
        LaneSettings {
            count: LaneCount::new(self.lanes as usize).unwrap_or(LaneCount::ONE),
            ordering: LaneOrdering::Key,
            concurrency: if self.is_adaptive {
                Concurrency::Adaptive
            } else {
                Concurrency::Fixed
            },
            drain_timeout: self.drain_timeout,
            in_flight_bytes: 64 << 20,
            transient_errors: Vec::new(),
            max_event_bytes: 16 << 20,
            stamps_emission: false,
        }
    }

    fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            base_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            give_up_after: self.give_up_after,
            single_out: self.sets_aside,
        }
    }
}

/// How a life ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LifeEnd {
    Complete,
    Stopped,
    Failed(String),
}

/// Where a life tells how it ended.
pub(crate) type Grave = Arc<Mutex<Option<LifeEnd>>>;

/// One life of a producer.
pub(crate) struct Life {
    pub(crate) process: ProcessId,
    pub(crate) clock: SimClock,
    pub(crate) dice: Dice,
    pub(crate) world: Arc<SimWorld>,
    pub(crate) laws: Laws,
    pub(crate) gate: SimGate,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) disk: Arc<CrashDisk>,
    pub(crate) crew: Crew,
    pub(crate) settings: Settings,
    pub(crate) ending: Ending,
    pub(crate) helm: Helm,
    pub(crate) takes_over: bool,
    /// Events that it may repeat beyond its window, since another lives beside it.
    pub(crate) allowed_more: usize,
    /// How far its wall clock was off when its schedule began, in nanoseconds.
    pub(crate) skew: i64,
}

/// The keys of the cursors of a world.
pub(crate) fn keys(world: &SimWorld) -> Vec<CursorKey> {
    let outputs = world.outputs.iter();
    let keys = outputs.map(|output| {
        CursorKey::new(PackKey::of_root("world"), output.id.clone()).expect("an id that fits")
    });
    keys.collect()
}

impl Life {
    /// Lives, and tells the grave how that ended.
    pub(crate) async fn live(self, grave: Grave) {
        let (laws, process) = (self.laws.clone(), self.process);
        let end = match Box::pin(self.stream()).await {
            Ok(end) => end,
            Err(error) if error.code() == "STOPPED" => LifeEnd::Stopped,
            Err(error) => {
                laws.note(&format!("process {} fails: {error}", process.0));
                LifeEnd::Failed(error.code().to_owned())
            }
        };
        laws.note(&format!("process {} ends: {end:?}", process.0));
        *grave.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    async fn stream(mut self) -> Result<LifeEnd, Error> {
        let settings = self.settings.clone();
        let clock = SharedClock::new(self.clock.clone());
        let keys = keys(&self.world);
        // Errors name the holder, and traces errors: nothing of this process may be in them.
        let holder = Holder {
            name: "simulation".to_owned(),
            host: "simulated".to_owned(),
            pid: self.process.0,
        };
        let mut wanted = LeaseRequest::new(keys.clone(), holder).lasting(settings.lease_period);
        wanted.take_over = self.takes_over;
        let (ending, crew) = (self.ending.clone(), self.crew.clone());
        let patience = settings.save_timeout;
        let held = HeldLease::take(&self.store, &wanted, &clock, &ending, patience, &crew).await?;
        let began = self.begin(&keys, &held).await;
        let (end, save_failed) = match began {
            Ok(engine) => {
                let watching = watch_lease(held.watch(), engine.window(), ending.clone());
                // To give the leases back is no fault to be told of: the watch ends before.
                let ran = run_watched(engine, watching).await?;
                let save_failed = ran.kept.save_failed;
                (self.judge(ran, ending.take_cause()), save_failed)
            }
            Err(error) => (Err(error), false),
        };
        let patience = if save_failed {
            LAST_TRY
        } else {
            ending.left_of(settings.drain_timeout + settings.save_timeout)
        };
        held.give_back(patience.max(LAST_TRY)).await;
        end
    }

    /// Reads the cursors under the lease, and sets the engine up behind them.
    async fn begin(&mut self, keys: &[CursorKey], held: &HeldLease) -> Result<SimEngine, Error> {
        let mode = if self.world.by_time {
            OrderMode::EventTime
        } else {
            OrderMode::AsWritten
        };
        let mut done = Vec::new();
        for (output, key) in keys.iter().enumerate() {
            done.push(self.resume(output, key, mode, held.store()).await?);
        }
        let settings = self.settings.clone();
        let start = Start::by(&self.clock);
        self.skew = self.clock.skew();
        let not_before = (settings.speedup > 0.0 && self.world.by_time).then(|| NotBefore {
            start: self.clock.elapsed(),
            first: None,
            speedup: settings.speedup,
        });
        let allowed = settings.window() + self.allowed_more;
        self.laws
            .life_begins(self.process, &self.ending, allowed, not_before);
        let order = self.order(&done)?;
        let speedup = Speedup::new(settings.speedup).unwrap_or(Speedup::UNPACED);
        let when_late = if settings.slips {
            WhenLate::Slip
        } else {
            WhenLate::CatchUp
        };
        let places = Arc::clone(&self.world);
        let course = Course::new(order, places, Schedule::new(speedup, when_late), start);
        let outputs = keys.iter().zip(&self.world.outputs).map(|(key, output)| {
            let parts = output.parts.iter().map(|part| part.name.clone());
            KeptOutput::new(key.clone(), parts, PLAN)
        });
        let (store, lease) = (Arc::clone(&self.store), Arc::clone(held.lease()));
        let cursors = Cursors::new(store, lease, outputs.collect(), mode, PLATFORM_RUN)?
            .flushed_every(settings.flush_every)
            .waiting_for_store(settings.give_up_after, Trouble::of_store())
            .stopped_within(settings.drain_timeout + settings.save_timeout)
            .watched_by(held.watch());
        let (endpoint, client) = self.client();
        let (lanes, retry) = (settings.lane_settings(), settings.retry());
        let gateway = Gateway::new(client, endpoint.as_str(), lanes, retry);
        let helm = std::mem::replace(&mut self.helm, Helm::unmanned());
        Ok(Engine::new(course, gateway, cursors, self.clock.clone())
            .by_crew(self.crew.clone())
            .by_chance(SharedRandom::new(self.dice.apart()))
            .ended_by(self.ending.clone())
            .steered_by(helm)
            .with_quarantine(self.quarantine()?))
    }

    fn client(&self) -> (PushEndpoint, DirectClient<SimConnector, SimClock>) {
        let endpoint = PushEndpoint::parse("http://gate").expect("an endpoint");
        let options = ClientOptions {
            timeout: self.settings.post_timeout,
            token: None,
        };
        let connector = self.gate.connector(self.process);
        let client = DirectClient::over(connector, self.clock.clone(), &endpoint, options);
        (endpoint, client.expect("a host that fits"))
    }

    fn quarantine(&self) -> Result<Option<SetAside>, Error> {
        if !self.settings.sets_aside {
            return Ok(None);
        }
        let disk: Arc<CrashDisk> = Arc::clone(&self.disk);
        let file = QuarantineFile::open_on(disk, quarantine_path())?;
        Ok(Some(SetAside {
            quarantine: Box::new(Watched {
                file,
                process: self.process,
                max_attempts: self.settings.max_attempts,
                world: Arc::clone(&self.world),
                laws: self.laws.clone(),
            }),
            at_most: 1_000_000,
        }))
    }

    async fn resume(
        &self,
        output: usize,
        key: &CursorKey,
        order: OrderMode,
        store: &dyn CheckpointStore,
    ) -> Result<Option<Position>, Error> {
        let Some(record) = store.load(key).await.map_err(Error::Checkpoint)? else {
            return Ok(None);
        };
        let plan = ResumePlan {
            order,
            source: RowSource::Outputs,
            plan_digest: PLAN,
            platform_run_id: PLATFORM_RUN,
            roots: &[],
            view_bases: &[],
            view_time_ns: None,
            allow_plan_change: false,
            allow_run_change: false,
        };
        let resume = resume_check(key, &record.cursor, &plan).map_err(Error::Checkpoint)?;
        let at = position(&self.world, output, &resume.cursor);
        self.laws.note(&format!(
            "process {} resumes output {output} behind {}:{}",
            self.process.0, resume.cursor.last_part, resume.cursor.last_row_index
        ));
        if at.is_none() {
            self.laws.broken("a cursor names a place that is not there");
        }
        Ok(at)
    }

    fn order(&mut self, done: &[Option<Position>]) -> Result<Box<dyn EventOrder>, Error> {
        let workers = self.dice.between(1, 3) as usize;
        let opener = Box::new(SimParts {
            world: Arc::clone(&self.world),
            pool: FeedPool::of_crew(&self.crew, workers, &self.ending)?,
            chunk_rows: self.settings.chunk_rows,
        });
        if !self.world.by_time {
            return Ok(Box::new(AsWritten::new(
                self.world.open_parts(done),
                opener,
            )));
        }
        let places = Arc::clone(&self.world);
        let spans = self.world.spans(done);
        Ok(Box::new(Merge::new(&spans, None, opener, places)))
    }

    /// Whether the report of a life says what happened.
    fn judge(&self, mut ran: Ran<Quiet>, cause: Option<Cause>) -> Result<LifeEnd, Error> {
        let all = ran.meters.read_all();
        let sum = all.buffered + all.in_flight + all.acknowledged + all.quarantined;
        if all.read != sum {
            self.laws
                .broken(format!("the meters do not add up: {all:?}"));
        }
        if let Some(schedule) = &ran.dispatched.schedule
            && let Some(origin) = schedule.time_origin
            && self.world.by_time
            // A schedule that slips reports where it stands at last.
            && !self.settings.slips
        {
            let anchor = SimClock::elapsed_at(schedule.wall_origin, self.skew);
            let place = (anchor, origin.nanos());
            let speedup = self.settings.speedup as u64;
            self.laws.check_schedule(self.process, place, speedup);
        }
        let decided = ran.kept.decisions;
        if decided.admit + decided.duplicate + decided.quarantine != all.acknowledged {
            self.laws.broken("decisions and acknowledgements differ");
        }
        let verdict = ran.kept.verdict.take();
        let outcome = Outcome::of(cause, ran.dispatched.end, verdict);
        if !matches!(outcome, Outcome::Failed(_)) {
            self.check_saved(&ran.kept);
        }
        match outcome {
            Outcome::Failed(error) => Err(error),
            Outcome::Stopped => Ok(LifeEnd::Stopped),
            Outcome::Complete | Outcome::MaxEvents => {
                if all.buffered + all.in_flight > 0 {
                    self.laws
                        .broken(format!("the stream ended, and its meters did not: {all:?}"));
                }
                Ok(LifeEnd::Complete)
            }
        }
    }
}

impl Life {
    /// Whether a life that says that it ended in good order has saved what it says.
    fn check_saved(&self, kept: &Kept<Quiet>) {
        if kept.save_failed {
            self.laws
                .broken("a life ended in good order, and its last save failed");
        }
        let cursors = kept.cursors.iter().enumerate();
        let said = cursors.map(|(output, cursor)| position(&self.world, output, cursor.as_ref()?));
        self.laws
            .says_saved(self.process, &said.collect::<Vec<_>>());
    }
}

/// A quarantine whose laws are looked at.
struct Watched {
    file: QuarantineFile,
    process: ProcessId,
    max_attempts: u32,
    world: Arc<SimWorld>,
    laws: Laws,
}

impl Quarantine for Watched {
    fn set_aside(&mut self, events: &[RejectedEvent]) -> Result<(), Error> {
        let set_aside = events.iter().map(|event| &event.envelope);
        for event in set_aside.filter_map(|envelope| event_in(&self.world, envelope)) {
            self.laws.sets_aside(self.process, event, self.max_attempts);
        }
        self.file.set_aside(events)
    }

    fn waiting(&self) -> u64 {
        self.file.waiting()
    }

    fn check_in_place(&self) -> Result<(), Error> {
        self.file.check_in_place()
    }

    fn place(&self) -> String {
        self.file.place()
    }
}

type SimEngine = Engine<DirectClient<SimConnector, SimClock>, SimClock>;

/// Runs an engine, and has the watch of its lease go on for as long.
async fn run_watched(
    engine: SimEngine,
    watching: impl Future<Output = ()>,
) -> Result<Ran<Quiet>, Error> {
    let (mut running, mut watching) = (pin!(engine.run(Quiet)), pin!(watching));
    tokio::select! {
        biased;
        ran = &mut running => ran,
        () = &mut watching => running.await,
    }
}

/// Keeps no record.
struct Quiet;

impl Journal for Quiet {
    fn note(&mut self, _: &Happening) -> Result<(), Error> {
        Ok(())
    }
}

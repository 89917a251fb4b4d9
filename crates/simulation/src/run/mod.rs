//! One seed: a world, its producers, and what befalls them, to the end.

mod mishaps;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkpoint::MemoryStore;
use checkpoint::slots::Observer;
use model::SharedClock;
use replay::{Crew, Ending, Steering};

use crate::answers::{Says, Weather};
use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::gate::SimGate;
use crate::laws::Laws;
use crate::producer::{Grave, Life, LifeEnd, Settings};
use crate::stage::{ProcessId, Stage, Went};
use crate::store::{DistantStore, StoreWay};
use crate::world::SimWorld;

/// Lives after which nothing befalls the producers any more.
const TROUBLED_LIVES: u32 = 6;
/// How long poison lasts in calm weather: longer than a producer may take to set it aside.
const POISON_LASTS: Duration = Duration::from_secs(450);
/// How long a life may last that has lost a task, beside the time for a stop.
const DEATH_IS_NOTICED: Duration = Duration::from_mins(1);
/// Steps that no simulation takes.
const MOST_STEPS: u64 = 6_000_000;

/// What a simulation is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The seed of everything.
    pub seed: u64,
    /// Events of the world, at most.
    pub events: u64,
    /// Whether the trace is kept as lines; its digest always is.
    pub keeps_trace: bool,
}

impl Asked {
    /// A world of at most 1,000 events out of a seed, without a trace.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            events: 1_000,
            keeps_trace: false,
        }
    }
}

/// What a simulation came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed that it came out of.
    pub seed: u64,
    /// The laws that were broken; empty where all held.
    pub broken: Vec<String>,
    /// Events of the world.
    pub events: u64,
    /// Events that reached the gate, repeats included.
    pub arrivals: u64,
    /// Producers that lived.
    pub lives: u32,
    /// Producers that were killed, with or without the power of their machine.
    pub crashes: u32,
    /// Mishaps, and requests that something was wrong with.
    pub faults: u64,
    /// Steps taken.
    pub steps: u64,
    /// Simulated time.
    pub time: Duration,
    /// Digest of everything that happened.
    pub digest: u64,
    /// Everything that happened, a line each; empty unless it was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed to its end.
pub fn simulate(asked: Asked) -> Outcome {
    let mut simulation = Simulation::new(asked);
    simulation.run();
    simulation.outcome(asked.seed)
}

/// A producer that lives.
pub(crate) struct Alive {
    pub(crate) process: ProcessId,
    /// The clock of its machine.
    pub(crate) clock: SimClock,
    grave: Grave,
    ending: Ending,
    steering: Steering,
    /// When a stop was asked for.
    stopping: Option<Duration>,
    was_suspended: bool,
    /// When a task of it was dropped.
    lost_a_task: Option<Duration>,
}

pub(crate) struct Simulation {
    clock: SimClock,
    dice: Dice,
    stage: Stage,
    world: Arc<SimWorld>,
    laws: Laws,
    disk: SimDisk,
    gate: SimGate,
    store: MemoryStore,
    way: Arc<Mutex<StoreWay>>,
    settings: Settings,
    alive: Vec<Alive>,
    lives: u32,
    crashes: u32,
    mishaps: u32,
    next_mishap: Duration,
    acts: u64,
    /// The number of the act that was asked last.
    latest_act: Arc<AtomicU64>,
    calm: bool,
    /// Since when it is calm and poison lasts.
    calm_since: Option<Duration>,
    was_store_unwell: bool,
    is_whole: bool,
}

impl Simulation {
    fn new(asked: Asked) -> Self {
        let mut dice = Dice::of(asked.seed);
        let clock = SimClock::default();
        let settings = Settings::of(&mut dice);
        let world = Arc::new(SimWorld::new(&mut dice, asked.events));
        let disk = SimDisk::new();
        let laws = Laws::new(&clock, &world, &disk, asked.keeps_trace);
        laws.note(&format!("{settings:?}"));
        let stage = Stage::new(clock.clone(), dice.apart());
        let gate = SimGate::new(&clock, stage.spawner(), &world, &laws, dice.apart());
        let way = StoreWay {
            latency: Duration::from_micros(dice.one_of(&[20, 1_000, 20_000, 200_000])),
            dice: dice.apart(),
            away_until: Duration::ZERO,
            lost: 0,
        };
        let store = MemoryStore::new(Observer::new(clock.clone(), dice.apart()));
        let mut this = Self {
            clock,
            stage,
            world,
            laws,
            disk,
            gate,
            store,
            way: Arc::new(Mutex::new(way)),
            settings,
            alive: Vec::new(),
            lives: 0,
            crashes: 0,
            mishaps: 0,
            next_mishap: Duration::ZERO,
            acts: 0,
            latest_act: Arc::default(),
            calm: false,
            calm_since: None,
            was_store_unwell: false,
            is_whole: false,
            dice,
        };
        this.poison();
        this.next_mishap = this.until_next_mishap();
        this
    }

    fn run(&mut self) {
        self.begin_life(false);
        while !self.laws.is_broken() {
            if self.stage.step() == Went::Nowhere && !self.has_ended() {
                self.laws.broken("nothing can go on any more");
            }
            if self.stage.steps() > MOST_STEPS {
                self.laws.broken("it never ends");
            }
            self.bury();
            if self.is_whole && self.alive.is_empty() {
                return;
            }
            if !self.calm && self.clock.elapsed() >= self.next_mishap {
                self.befall();
                self.next_mishap = self.until_next_mishap();
            }
            self.check_stops();
            self.check_poison();
        }
    }

    fn has_ended(&self) -> bool {
        self.alive
            .iter()
            .any(|alive| locked(&alive.grave).is_some())
    }

    /// Starts a producer on a machine of its own.
    fn begin_life(&mut self, takes_over: bool) {
        self.lives += 1;
        if self.lives > TROUBLED_LIVES {
            self.calm_down();
        }
        let process = ProcessId(self.lives);
        let clock = self.clock.of_another_machine();
        clock.step_wall(self.dice.between(0, 2_000_000_000) as i64 - 1_000_000_000);
        let (crew, steps) = Crew::stepped();
        self.stage.add(process, steps);
        let ending = Ending::by(SharedClock::new(clock.clone()));
        let (steering, helm) = Steering::new(ending.clone());
        let store = DistantStore {
            process,
            clock: clock.clone(),
            store: self.store.clone(),
            way: Arc::clone(&self.way),
            laws: self.laws.clone(),
            world: Arc::clone(&self.world),
        };
        let grave = Grave::default();
        let machine = clock.clone();
        let life = Life {
            process,
            clock,
            dice: self.dice.apart(),
            world: Arc::clone(&self.world),
            laws: self.laws.clone(),
            gate: self.gate.clone(),
            store: Arc::new(store),
            disk: self.disk.now(),
            crew,
            settings: self.settings.clone(),
            ending: ending.clone(),
            helm,
            takes_over,
            skew: 0,
            allowed_more: if self.alive.is_empty() {
                0
            } else {
                self.settings.lanes as usize
            },
        };
        self.laws.note(&format!(
            "process {} begins (takes over: {takes_over})",
            process.0
        ));
        let living = life.live(Arc::clone(&grave));
        self.stage.spawner().spawn(process, living);
        self.alive.push(Alive {
            process,
            clock: machine,
            grave,
            ending,
            steering,
            stopping: None,
            was_suspended: false,
            lost_a_task: None,
        });
    }

    /// Looks who has ended, and what follows from it.
    fn bury(&mut self) {
        let ended = self
            .alive
            .iter()
            .position(|alive| locked(&alive.grave).is_some());
        let Some(ended) = ended else { return };
        let dead = self.alive.remove(ended);
        let end = locked(&dead.grave).take();
        // Its process ends with it.
        self.stage.crash(dead.process);
        match end {
            Some(LifeEnd::Complete) => {
                self.laws.is_whole();
                self.is_whole = true;
                self.calm_down();
                return;
            }
            Some(LifeEnd::Failed(code)) => self.failed(&dead, &code),
            Some(LifeEnd::Stopped) | None => {}
        }
        if self.alive.is_empty() && !self.is_whole {
            self.begin_life(false);
        }
    }

    /// Whether something gave rise to the end of a life, and who mends it.
    fn failed(&mut self, dead: &Alive, code: &str) {
        let laws = &self.laws;
        let was_said = |says: &[Says]| says.iter().any(|says| laws.was_said(*says));
        let has_reason = match code {
            "IG_PUSH_REJECTED" => was_said(&[Says::Refused, Says::SenderRefused, Says::Failed]),
            "IG_PUBLISH_AMBIGUOUS" => was_said(&[Says::InDoubt]),
            "IG_RESPONSE_UNKNOWN" => was_said(&[Says::Senseless]),
            "IG_PUSH_RETRY_EXHAUSTED" => true,
            "CHECKPOINT_UNAVAILABLE" => self.was_store_unwell,
            "LEASE_LOST" => laws.is_dispossessed(dead.process),
            "LEASE_HELD" => laws.another_holds(dead.process),
            "STREAM_INTERNAL" => dead.lost_a_task.is_some(),
            _ => false,
        };
        if !has_reason {
            self.laws.broken(format!("a life ended with {code}"));
        }
        // Somebody mends what is named.
        match code {
            "IG_PUSH_REJECTED" | "IG_PUBLISH_AMBIGUOUS" => self.gate.mend(),
            "IG_PUSH_RETRY_EXHAUSTED" | "IG_RESPONSE_UNKNOWN" => {
                self.gate.mend();
                self.gate.set_weather(Weather::default());
            }
            _ => {}
        }
    }

    /// Whether a poison event blocks a stream in calm weather; then somebody takes the poison away.
    fn check_poison(&mut self) {
        let Some(since) = self.calm_since else { return };
        let now = self.clock.elapsed();
        if now < since + POISON_LASTS {
            return;
        }
        self.calm_since = None;
        for event in self.gate.slow_poison() {
            let blocked = self
                .alive
                .iter()
                .find(|alive| !alive.was_suspended && self.laws.blocks(alive.process, event));
            if self.settings.sets_aside
                && let Some(blocked) = blocked
            {
                let by = blocked.process.0;
                self.laws
                    .broken(format!("poison event {event} blocks process {by}"));
            }
        }
        self.gate.mend();
    }

    fn check_stops(&mut self) {
        let now = self.clock.elapsed();
        let bound = self.settings.stop_bound();
        for alive in &self.alive {
            let bound_of_death = bound + DEATH_IS_NOTICED;
            let is_undead = alive
                .lost_a_task
                .is_some_and(|since| now > since + bound_of_death);
            if is_undead && !alive.was_suspended {
                let by = alive.process.0;
                self.laws
                    .broken(format!("process {by} lost a task and still runs"));
                return;
            }
            let Some(since) = alive.stopping else {
                continue;
            };
            let is_late = now > since + bound;
            if is_late && !alive.was_suspended && alive.ending.is_winding_down() {
                let what = format!(
                    "process {} was stopped {:?} ago and still runs",
                    alive.process.0,
                    now.saturating_sub(since)
                );
                self.laws.broken(what);
                return;
            }
        }
    }

    fn outcome(self, seed: u64) -> Outcome {
        let trace = self.laws.take_trace();
        Outcome {
            seed,
            broken: self.laws.verdict(),
            events: self.world.len() as u64,
            arrivals: self.laws.arrivals(),
            lives: self.lives,
            crashes: self.crashes,
            faults: u64::from(self.mishaps) + self.gate.faults(),
            steps: self.stage.steps(),
            time: self.clock.elapsed(),
            digest: trace.digest,
            trace: trace.lines,
        }
    }
}

fn locked(grave: &Grave) -> std::sync::MutexGuard<'_, Option<LifeEnd>> {
    grave.lock().unwrap_or_else(PoisonError::into_inner)
}

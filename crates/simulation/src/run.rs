//! One seed: a world, its producers, and what befalls them, to the end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use checkpoint::MemoryStore;
use checkpoint::slots::Observer;
use model::{Clock as _, SharedClock};
use replay::{Act, Crew, Ending, Pace, Speedup, Steering};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::gate::{GATE, Poison, SimGate, Weather};
use crate::laws::Laws;
use crate::producer::{Grave, Life, LifeEnd, Settings};
use crate::stage::{ProcessId, Stage, Went};
use crate::store::{DistantStore, StoreWay};
use crate::world::SimWorld;

/// Lives after which nothing befalls the producers any more.
const TROUBLED_LIVES: u32 = 6;
/// Mishaps after which nothing befalls them any more.
const MISHAPS: u32 = 40;
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
struct Alive {
    process: ProcessId,
    grave: Grave,
    ending: Ending,
    steering: Steering,
    /// When a stop was asked for.
    stopping: Option<Duration>,
    was_suspended: bool,
}

struct Simulation {
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
            is_whole: false,
            dice,
        };
        this.poison();
        this.next_mishap = this.until_next_mishap();
        this
    }

    /// Makes a few events such that the gate never takes them.
    fn poison(&mut self) {
        if self.world.is_empty() || !self.dice.permille(400) {
            return;
        }
        for _ in 0..self.dice.between(1, 4) {
            let event = self.dice.below(self.world.len() as u64) as usize;
            let poison = self.dice.one_of(&[
                Poison::Fails,
                Poison::Cuts,
                Poison::Refuses,
                Poison::Refuses,
                Poison::Doubts,
            ]);
            self.gate.set_poison(event, Some(poison));
            self.laws.may_be_given_up(event);
            self.laws
                .note(&format!("event {event} is poison: {poison:?}"));
        }
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
        }
    }

    fn has_ended(&self) -> bool {
        self.alive
            .iter()
            .any(|alive| locked(&alive.grave).is_some())
    }

    /// When the next mishap comes; the stage looks around then.
    fn until_next_mishap(&mut self) -> Duration {
        let within = Duration::from_millis(self.dice.one_of(&[2, 20, 300, 5_000, 60_000]));
        let at = self.clock.elapsed() + self.dice.time(within);
        self.clock.look_at(at);
        at
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
            grave,
            ending,
            steering,
            stopping: None,
            was_suspended: false,
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
            Some(LifeEnd::Failed(code)) => self.failed(&code),
            Some(LifeEnd::Stopped) | None => {}
        }
        if self.alive.is_empty() && !self.is_whole {
            self.begin_life(false);
        }
    }

    fn failed(&mut self, code: &str) {
        match code {
            // Somebody mends what is named.
            "IG_PUSH_REJECTED" | "IG_PUBLISH_AMBIGUOUS" => self.gate.mend(),
            "IG_PUSH_RETRY_EXHAUSTED" => {
                self.gate.mend();
                self.gate.set_weather(Weather::default());
            }
            "CHECKPOINT_UNAVAILABLE" | "LEASE_LOST" | "LEASE_HELD" => {}
            code => self.laws.broken(format!("a life ended with {code}")),
        }
    }

    /// From now on nothing befalls anybody.
    fn calm_down(&mut self) {
        self.calm = true;
        self.gate.set_weather(Weather::default());
        if !self.settings.sets_aside {
            self.gate.mend();
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        way.lost = 0;
        way.away_until = Duration::ZERO;
    }

    fn kill(&mut self, index: usize) {
        let dead = self.alive.remove(index);
        self.stage.crash(dead.process);
        self.crashes += 1;
        self.laws
            .note(&format!("process {} is killed", dead.process.0));
    }

    /// Something befalls somebody.
    fn befall(&mut self) {
        self.mishaps += 1;
        if self.mishaps > MISHAPS {
            self.calm_down();
            return;
        }
        let some = self.dice.below(self.alive.len() as u64) as usize;
        let long = Duration::from_millis(self.dice.one_of(&[5, 200, 4_000, 40_000]));
        let time = self.dice.time(long);
        match self.dice.below(16) {
            0 | 1 if !self.alive.is_empty() => {
                self.kill(some);
            }
            2 if !self.alive.is_empty() => {
                while !self.alive.is_empty() {
                    self.kill(0);
                }
                self.disk.lose_power(&mut self.dice);
                self.laws.note("the power is gone");
            }
            3 | 4 => self.weather(),
            5 => {
                self.laws.note(&format!("the gate is away for {time:?}"));
                self.gate.go_away(time);
            }
            6 => {
                let forgets = self.dice.permille(400);
                self.laws
                    .note(&format!("the gate restarts (forgets: {forgets})"));
                self.gate.restart(forgets);
            }
            7 => {
                self.laws.note(&format!("the store is away for {time:?}"));
                let until = self.clock.elapsed() + time;
                self.way
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .away_until = until;
            }
            8 => {
                let lost = self.dice.one_of(&[0, 10, 200]);
                self.laws
                    .note(&format!("the store loses {lost} in a thousand"));
                self.way.lock().unwrap_or_else(PoisonError::into_inner).lost = lost;
            }
            9 if !self.alive.is_empty() => {
                let alive = &mut self.alive[some];
                alive.was_suspended = true;
                self.laws.note(&format!(
                    "process {} is suspended for {time:?}",
                    alive.process.0
                ));
                self.stage.suspend(alive.process, time);
            }
            10 if !self.alive.is_empty() => {
                let process = self.alive[some].process;
                self.laws
                    .note(&format!("reads of process {} hang for {time:?}", process.0));
                self.stage.hang(process, time);
            }
            11 if self.alive.len() < 2 => {
                let takes_over = self.dice.permille(500);
                self.begin_life(takes_over);
            }
            12 if !self.alive.is_empty() => self.stop(some),
            _ if !self.alive.is_empty() => self.steer(some),
            _ => {}
        }
        if self.alive.is_empty() && !self.is_whole {
            self.begin_life(false);
        }
    }

    fn weather(&mut self) {
        let dice = &mut self.dice;
        let mut chance = || {
            let chance = dice.one_of(&[5, 50, 300]);
            if dice.permille(250) { chance } else { 0 }
        };
        let weather = Weather {
            slow_down: chance(),
            failing: chance(),
            unhealthy: chance(),
            cut_before: chance(),
            cut_after: chance(),
            silent: chance().min(50),
            in_doubt: chance().min(50),
            closing: chance(),
            quarantining: chance(),
        };
        self.laws.note(&format!("{weather:?}"));
        self.gate.set_weather(weather);
    }

    fn stop(&mut self, index: usize) {
        let now = self.clock.elapsed();
        let alive = &mut self.alive[index];
        alive.stopping.get_or_insert(now);
        self.laws
            .note(&format!("process {} is stopped", alive.process.0));
        self.ask(index, Act::Stop);
    }

    fn steer(&mut self, index: usize) {
        let act = match self.dice.below(5) {
            0 => Act::Pause,
            1 | 2 => Act::Resume,
            3 => Act::Step(self.dice.between(1, 20)),
            _ => {
                let factor = self.dice.one_of(&[0.0, 60.0, 3_600.0]);
                Act::SetPace(Pace::from(Speedup::new(factor).unwrap_or(Speedup::UNPACED)))
            }
        };
        self.laws.steered(self.alive[index].process);
        let is_pause = act == Act::Pause;
        self.ask(index, act);
        if is_pause {
            // Nobody is left paused for ever.
            let (steering, clock) = (self.alive[index].steering.clone(), self.clock.clone());
            let time = self.dice.time(Duration::from_secs(20));
            let process = self.alive[index].process;
            let (laws, latest) = (self.laws.clone(), Arc::clone(&self.latest_act));
            self.stage.spawner().spawn(process, async move {
                clock.sleep(time).await;
                latest.store(u64::MAX, Relaxed);
                laws.goes_on(process, None);
                let _ = steering.act(Act::Resume, "simulation").await;
            });
        }
    }

    fn ask(&mut self, index: usize, act: Act) {
        let alive = &self.alive[index];
        let (steering, laws, process) = (alive.steering.clone(), self.laws.clone(), alive.process);
        self.acts += 1;
        let number = self.acts;
        let latest = Arc::clone(&self.latest_act);
        latest.store(number, Relaxed);
        match act {
            Act::Step(events) => laws.goes_on(process, Some(events)),
            Act::Pause => {}
            _ => laws.goes_on(process, None),
        }
        // It is asked from outside: a stop reaches a process whatever its tasks are at.
        self.stage.spawner().spawn(GATE, async move {
            let answer = steering.act(act.clone(), "simulation").await;
            // Where something else was asked meanwhile, nobody knows which came last.
            if act == Act::Pause && answer.is_ok() && latest.load(Relaxed) == number {
                laws.paused(process);
            }
            laws.note(&format!(
                "process {} was asked to {}: {}",
                process.0,
                act.as_str(),
                answer.is_ok()
            ));
        });
    }

    fn check_stops(&mut self) {
        let now = self.clock.elapsed();
        let bound = self.settings.stop_bound();
        for alive in &self.alive {
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

//! What befalls producers, gate, store and machines, and who steers.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::Clock as _;
use replay::{Act, Pace, Speedup};

use super::Simulation;
use crate::answers::{Poison, Weather};
use crate::gate::GATE;

/// Mishaps after which nothing befalls anybody any more.
const MISHAPS: u32 = 40;
/// The most nanoseconds by which a wall clock is stepped.
const WALL_STEP: u64 = 3_600_000_000_000;

impl Simulation {
    /// Makes a few events such that the gate never takes them.
    pub(super) fn poison(&mut self) {
        if self.world.is_empty() || !self.dice.permille(400) {
            return;
        }
        for _ in 0..self.dice.between(1, 4) {
            let event = self.dice.below(self.world.len() as u64) as usize;
            let poison = self.dice.one_of(&Poison::ALL);
            self.gate.set_poison(event, Some(poison));
            self.laws.is_poison(event);
            self.laws
                .note(&format!("event {event} is poison: {poison:?}"));
        }
    }

    /// When the next mishap comes; the stage looks around then.
    pub(super) fn until_next_mishap(&mut self) -> Duration {
        let within = Duration::from_millis(self.dice.one_of(&[2, 20, 300, 5_000, 60_000]));
        let at = self.clock.elapsed() + self.dice.time(within);
        self.clock.look_at(at);
        at
    }

    /// From now on nothing befalls anybody.
    pub(super) fn calm_down(&mut self) {
        if !self.calm {
            let now = self.clock.elapsed();
            self.calm_since = Some(now);
            self.gate.restart(false);
        }
        self.calm = true;
        self.gate.set_weather(Weather::default());
        if !self.settings.sets_aside {
            self.gate.mend();
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        way.lost = 0;
        way.away_until = Duration::ZERO;
    }

    /// Something befalls somebody.
    pub(super) fn befall(&mut self) {
        self.mishaps += 1;
        if self.mishaps > MISHAPS {
            self.calm_down();
            return;
        }
        let long = Duration::from_millis(self.dice.one_of(&[5, 200, 4_000, 40_000]));
        let time = if self.dice.permille(200) {
            // Just longer than a lease lasts: its holder is late by less than it might excuse.
            let period = self.settings.lease_period;
            period + self.dice.time(period / 3)
        } else {
            self.dice.time(long)
        };
        match self.dice.below(22) {
            0..=3 => self.befalls_the_gate(time),
            4..=6 => self.befalls_the_store(time),
            7 if self.alive.len() < 2 => {
                let takes_over = self.dice.permille(500);
                self.begin_life(takes_over);
            }
            8 => self.power_goes(),
            _ if !self.alive.is_empty() => {
                let some = self.dice.below(self.alive.len() as u64) as usize;
                self.befalls_a_producer(some, time);
            }
            _ => {}
        }
        if self.alive.is_empty() && !self.is_whole {
            self.begin_life(false);
        }
    }

    fn befalls_the_gate(&mut self, time: Duration) {
        match self.dice.below(10) {
            0..=4 => self.weather(),
            5 | 6 => {
                self.laws.note(&format!("the gate is away for {time:?}"));
                self.gate.go_away(time);
            }
            7 => {
                self.laws.note("the gate speaks another dialect");
                self.gate.switch_dialect();
            }
            8 if self.dice.permille(300) => {
                self.laws
                    .note(&format!("the gate refuses senders for {time:?}"));
                self.gate.refuse_senders(time);
            }
            _ => {
                let forgets = self.dice.permille(400);
                self.laws
                    .note(&format!("the gate restarts (forgets: {forgets})"));
                self.gate.restart(forgets);
            }
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
            unpublished: chance().min(50),
            senseless: if dice.permille(30) { 5 } else { 0 },
        };
        self.laws.note(&format!("{weather:?}"));
        self.gate.set_weather(weather);
    }

    fn befalls_the_store(&mut self, time: Duration) {
        self.was_store_unwell = true;
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        if self.dice.permille(500) {
            self.laws.note(&format!("the store is away for {time:?}"));
            way.away_until = self.clock.elapsed() + time;
        } else {
            way.lost = self.dice.one_of(&[0, 10, 200]);
            let lost = way.lost;
            self.laws
                .note(&format!("the store loses {lost} in a thousand"));
        }
    }

    /// The machine loses power, and with it all producers.
    fn power_goes(&mut self) {
        if self.alive.is_empty() {
            return;
        }
        while !self.alive.is_empty() {
            self.kill(0);
        }
        self.disk.lose_power(&mut self.dice);
        self.laws.note("the power is gone");
    }

    fn kill(&mut self, index: usize) {
        let dead = self.alive.remove(index);
        self.stage.crash(dead.process);
        self.crashes += 1;
        self.laws
            .note(&format!("process {} is killed", dead.process.0));
    }

    fn befalls_a_producer(&mut self, index: usize, time: Duration) {
        let process = self.alive[index].process;
        match self.dice.below(13) {
            0..=2 => self.kill(index),
            3 | 4 => {
                let sleeps = self.dice.permille(500);
                let alive = &mut self.alive[index];
                alive.was_suspended = true;
                // Both stand still; timers of a machine that sleeps do so too.
                if sleeps {
                    alive.clock.sleeps_for(time);
                }
                let what = if sleeps { "sleeps" } else { "is suspended" };
                self.laws
                    .note(&format!("process {} {what} for {time:?}", process.0));
                self.laws.answers_may_be_lost();
                self.laws.may_renew_late(process);
                self.stage.suspend(process, time);
            }
            5 => {
                self.laws
                    .note(&format!("reads of process {} hang for {time:?}", process.0));
                self.stage.hang(process, time);
            }
            6 => {
                let by = self.dice.below(2 * WALL_STEP) as i64 - WALL_STEP as i64;
                self.laws
                    .note(&format!("the wall clock of {} steps by {by}", process.0));
                self.alive[index].clock.step_wall(by);
            }
            7 if self.dice.permille(300) => {
                if self.stage.drop_a_task(process) {
                    self.laws
                        .note(&format!("a task of process {} dies", process.0));
                    let now = self.clock.elapsed();
                    self.alive[index].lost_a_task.get_or_insert(now);
                }
            }
            8 => self.stop(index),
            _ => self.steer(index),
        }
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
        let act = match self.dice.below(6) {
            0 => Act::Pause,
            1 | 2 => Act::Resume,
            3 => Act::Step(self.dice.between(1, 20)),
            4 => Act::PauseAfter(self.dice.between(0, 20)),
            _ => {
                let factor = self.dice.one_of(&[0.0, 60.0, 3_600.0]);
                Act::SetPace(Pace::from(Speedup::new(factor).unwrap_or(Speedup::UNPACED)))
            }
        };
        self.laws.steered(self.alive[index].process);
        if let Act::PauseAfter(_) = act {
            self.pause_after(index, act);
            return;
        }
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

    /// Pauses a producer behind some events more, and resumes it some time after they are done.
    fn pause_after(&mut self, index: usize, act: Act) {
        let alive = &self.alive[index];
        let (steering, process, clock) =
            (alive.steering.clone(), alive.process, self.clock.clone());
        let time = self.dice.time(Duration::from_secs(20));
        let (laws, latest) = (self.laws.clone(), Arc::clone(&self.latest_act));
        laws.note(&format!("process {} is to {act:?}", process.0));
        // What is known of an earlier pause is known no more.
        latest.store(u64::MAX, Relaxed);
        laws.goes_on(process, None);
        self.stage.spawner().spawn(process, async move {
            let _ = steering.act_until_acknowledged(act, "simulation").await;
            clock.sleep(time).await;
            latest.store(u64::MAX, Relaxed);
            laws.goes_on(process, None);
            let _ = steering.act(Act::Resume, "simulation").await;
        });
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
        let waits_for_quiet = act == Act::Pause && self.dice.permille(500);
        // It is asked from outside: a stop reaches a process whatever its tasks are at.
        self.stage.spawner().spawn(GATE, async move {
            let answer = if waits_for_quiet {
                let asked = act.clone();
                steering.act_until_acknowledged(asked, "simulation").await
            } else {
                steering.act(act.clone(), "simulation").await
            };
            // Where something else was asked meanwhile, nobody knows which came last.
            if act == Act::Pause && answer.is_ok() && latest.load(Relaxed) == number {
                laws.paused(process, waits_for_quiet);
            }
            laws.note(&format!(
                "process {} was asked to {}: {}",
                process.0,
                act.as_str(),
                answer.is_ok()
            ));
        });
    }
}

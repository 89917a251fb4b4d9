//! What orders do to the pilot: pause, resume, another pace, steps.

use envelope::EventTime;

use super::{Pause, PauseBefore, Pilot, ResumeAt};
use crate::lead::steering::{Obeyed, Order};
use crate::pace::Pace;
use crate::tell::acts::{Act, Asker, Refused, Steered, Told};
use crate::tell::state::State;
use crate::time::WallNs;
use model::Clock;

impl<K: Clock> Pilot<K> {
    /// Obeys the orders that wait.
    pub(crate) fn obey(&mut self) {
        while let Some(order) = self.helm.next_order() {
            self.carry_out(order, None);
        }
        if self.resume_at.is_some() {
            self.resume_if_due();
        }
    }

    /// Ends the steering: what waits is answered, and nothing else is taken.
    pub(crate) fn end(&mut self) {
        self.be(State::Ending);
        self.helm.close();
        while let Some(order) = self.helm.next_order() {
            let refused = (order.act != Act::Stop).then_some(Refused::Ended);
            self.carry_out(order, refused);
        }
    }

    /// Does what an order says, unless it is refused, and answers it.
    fn carry_out(&mut self, order: Order, refused: Option<Refused>) {
        let Order { act, by, answer } = order;
        let now = self.now();
        let pace_before = self.schedule.pace().clone();
        let applied = refused.map_or_else(|| self.apply(&act, &by, now), Err);
        self.tell_of_act(act, by, applied.err(), pace_before);
        let answered = applied.map(|goal| Obeyed {
            progress: self.run.progress().borrow().clone(),
            goal,
        });
        // Whoever asked may have gone.
        let _ = answer.send(answered);
    }

    /// Tells the keeper of an act, for the audit, and shows the stream behind it.
    fn tell_of_act(&mut self, act: Act, by: Asker, refused: Option<Refused>, pace_before: Pace) {
        let pace = self.schedule.pace().clone();
        let state = self.state();
        let steered = Steered {
            act,
            by,
            refused,
            state,
            pace_before,
            pace: pace.clone(),
            handed_over: self.handed_over,
        };
        // A keeper that is gone has nothing left to write to.
        let _ = self.acts.send(Told::Steered(steered));
        let meters = self.run.meters().read_all();
        let pause_at = self.pause_before.as_ref().map(|before| before.time);
        let wall = |resume: &ResumeAt| EventTime::of_wall(self.run.start().wall_time(resume.at));
        let resume_at = self.resume_at.as_ref().and_then(wall);
        self.run.progress().send_modify(|progress| {
            progress.state = state;
            progress.pace = pace;
            progress.meters = meters;
            progress.pause_at = pause_at;
            progress.resume_at = resume_at;
        });
    }

    /// Does what an act says. Gives the number of events of the whole stream that are done once all
    /// that the act lets leave are.
    pub(super) fn apply(&mut self, act: &Act, by: &Asker, now: WallNs) -> Result<u64, Refused> {
        let sending = self.run.sending().clone();
        let goal = match (act, &mut self.pause) {
            (Act::Pause, paused) => {
                paused.get_or_insert(Pause::since(now)).steps = 0;
                self.resume_at = None;
                sending.pause()
            }
            (Act::PauseAt(time), _) => {
                let passed = self.run.meters().handed_over_time();
                if passed.is_some_and(|passed| passed >= *time) {
                    return Err(Refused::EventTimePassed);
                }
                let (time, by) = (*time, by.clone());
                self.pause_before = Some(PauseBefore { time, by });
                0
            }
            (Act::Resume, _) => {
                self.go_on(now);
                0
            }
            (Act::ResumeAt(time), Some(_)) => {
                let at = self.run.start().at_wall(*time);
                if at <= now {
                    return Err(Refused::WallTimePassed);
                }
                let by = by.clone();
                self.resume_at = Some(ResumeAt { at, by });
                0
            }
            (Act::SetPace(pace), paused) => {
                // The schedule stands where it was paused.
                let from = paused.map_or(now, |pause| pause.since);
                self.schedule.set_pace(pace.clone(), from);
                0
            }
            (Act::Step(events), Some(pause)) => {
                pause.steps = pause.steps.saturating_add(*events);
                sending.step(*events)
            }
            (Act::Step(_) | Act::ResumeAt(_), None) => return Err(Refused::NotPaused),
            (Act::PauseAfter(events), _) => {
                let goal = self.handed_over.saturating_add(*events);
                self.pause_at = goal;
                self.pause_at_by = by.clone();
                if *events == 0 {
                    self.pause_as_counted(now);
                }
                goal
            }
            (Act::Tap(_) | Act::Stop, _) => 0,
        };
        self.be(self.state());
        Ok(goal)
    }

    /// Pauses the stream as [`Act::PauseAfter`] asked.
    pub(super) fn pause_as_counted(&mut self, now: WallNs) {
        self.pause_at = u64::MAX;
        let by = std::mem::take(&mut self.pause_at_by);
        if self.pause.is_none() {
            self.pause_behind_the_last(now, by);
        }
    }

    /// Pauses the stream: what was handed over is sent, nothing else.
    pub(super) fn pause_behind_the_last(&mut self, since: WallNs, by: Asker) {
        self.pause = Some(Pause::since(since));
        self.run.sending().pause_at(self.handed_over);
        self.be(State::Paused);
        let pace = self.schedule.pace().clone();
        self.tell_of_act(Act::Pause, by, None, pace);
    }

    /// Goes on at a wall instant after a pause, if there is one.
    fn go_on(&mut self, at: WallNs) {
        if let Some(pause) = self.pause.take() {
            self.schedule.resume(pause.since, at);
        }
        self.resume_at = None;
        self.run.sending().resume();
    }

    /// Goes on once the wall instant has come that somebody named. The schedule moves by that
    /// instant and not by when the thread woke, so that streams which were told the same agree.
    fn resume_if_due(&mut self) {
        let now = self.now();
        if let Some(ResumeAt { at, by }) = self.resume_at.take_if(|resume| resume.at <= now) {
            self.go_on(at);
            self.be(self.state());
            let pace = self.schedule.pace().clone();
            self.tell_of_act(Act::Resume, by, None, pace);
        }
    }
}

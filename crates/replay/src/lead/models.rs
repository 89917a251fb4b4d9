//! Every order in which callers, the dispatching thread and lanes may meet at the steering.
//!
//! A wake that is lost leaves a thread waiting for ever; loom says so.

use std::sync::Arc;

use loom::model::Builder;
use loom::thread;

use super::steering::{Helm, Obeyed, Order, Shown, Steering};
use crate::ending::Ending;
use crate::sending::Sending;
use crate::sync::Notify;
use crate::sync::waiting::block_on;
use crate::tap::Taps;
use crate::tell::acts::{Act, Refused};
use crate::tell::meters::Meters;
use crate::tell::progress::Progress;

/// Models of three threads, with so many switches at most that no thread asked for: all of them
/// would take days.
fn model_of_three(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Says yes to an order.
fn answer(order: Order, goal: u64) -> Act {
    let progress = Progress::default();
    // Whoever asked may have gone.
    let _ = order.answer.send(Ok(Obeyed { progress, goal }));
    order.act
}

/// A caller on a thread of its own.
fn asks(steering: &Steering, act: Act) -> thread::JoinHandle<Result<Progress, Refused>> {
    let steering = steering.clone();
    thread::spawn(move || block_on(steering.act(act, "a caller")))
}

/// Obeys so many orders as the dispatcher does, resting while there is none.
fn obey(helm: &mut Helm, woken: &Notify, orders: usize) -> Vec<Act> {
    let mut obeyed = Vec::new();
    while obeyed.len() < orders {
        match helm.next_order() {
            Some(order) => obeyed.push(answer(order, 0)),
            None => block_on(woken.notified()),
        }
    }
    obeyed
}

#[test]
fn an_order_wakes_the_dispatcher_and_its_answer_the_caller() {
    loom::model(|| {
        let ending = Ending::default();
        let (steering, mut helm) = Steering::new(ending.clone());
        let woken = ending.register_dispatching_task();
        let caller = asks(&steering, Act::Pause);
        assert_eq!(obey(&mut helm, &woken, 1), [Act::Pause]);
        assert!(caller.join().unwrap().is_ok());
    });
}

#[test]
fn of_two_orders_at_once_none_is_left_waiting() {
    model_of_three(|| {
        let ending = Ending::default();
        let (steering, mut helm) = Steering::new(ending.clone());
        let woken = ending.register_dispatching_task();
        let callers = [asks(&steering, Act::Pause), asks(&steering, Act::Step(1))];
        assert_eq!(obey(&mut helm, &woken, 2).len(), 2);
        for caller in callers {
            assert!(caller.join().unwrap().is_ok());
        }
    });
}

/// Obeys until the stream winds down, then ends the steering as the pilot does.
fn obey_until_the_end(helm: &mut Helm, woken: &Notify, ending: &Ending) -> Vec<Act> {
    let mut obeyed = Vec::new();
    loop {
        while let Some(order) = helm.next_order() {
            obeyed.push(answer(order, 0));
        }
        if ending.is_winding_down() {
            break;
        }
        block_on(woken.notified());
    }
    helm.close();
    while let Some(order) = helm.next_order() {
        obeyed.push(answer(order, 0));
    }
    obeyed
}

#[test]
fn a_stop_wakes_the_dispatcher_and_is_among_the_orders_that_it_takes_last() {
    loom::model(|| {
        let ending = Ending::default();
        let (steering, mut helm) = Steering::new(ending.clone());
        let woken = ending.register_dispatching_task();
        let caller = asks(&steering, Act::Stop);
        assert_eq!(obey_until_the_end(&mut helm, &woken, &ending), [Act::Stop]);
        assert!(caller.join().unwrap().is_ok());
    });
}

#[test]
fn an_order_beside_a_stop_is_obeyed_or_refused_and_nobody_waits_for_ever() {
    model_of_three(|| {
        let ending = Ending::default();
        let (steering, mut helm) = Steering::new(ending.clone());
        let woken = ending.register_dispatching_task();
        let stop = asks(&steering, Act::Stop);
        let pause = asks(&steering, Act::Pause);
        let obeyed = obey_until_the_end(&mut helm, &woken, &ending);
        drop(helm);
        assert!(stop.join().unwrap().is_ok());
        match pause.join().unwrap() {
            Ok(_) => assert!(obeyed.contains(&Act::Pause)),
            Err(refused) => {
                assert_eq!(refused, Refused::Ended);
                assert!(!obeyed.contains(&Act::Pause));
            }
        }
    });
}

#[test]
fn once_a_pause_says_that_nothing_is_on_its_way_nothing_is() {
    model_of_three(|| {
        let ending = Ending::default();
        let (steering, mut helm) = Steering::new(ending.clone());
        let woken = ending.register_dispatching_task();
        let (meters, sending) = (Arc::new(Meters::new(1)), Sending::default());
        meters.read(0, 1);
        let _taps = helm.show(Shown {
            meters: Arc::clone(&meters),
            sending: sending.clone(),
            taps: Taps::default(),
        });
        // A lane begins an event if it may, and has it acknowledged.
        let lane = {
            let (meters, sending, bell) = (meters, sending.clone(), helm.bell().clone());
            thread::spawn(move || {
                if sending.begins() {
                    meters.handed_over(0);
                    meters.acknowledged(0);
                    bell.ring();
                }
            })
        };
        let caller = thread::spawn(move || {
            let paused = block_on(steering.act_until_acknowledged(Act::Pause, "a caller"));
            paused.unwrap().meters.acknowledged
        });
        loop {
            if let Some(order) = helm.next_order() {
                let begun = sending.pause();
                answer(order, begun);
                // Whether the lane began its event is known from here on.
                let told = caller.join().unwrap();
                lane.join().unwrap();
                assert_eq!(told, begun, "an event was on its way, or left later");
                return;
            }
            block_on(woken.notified());
        }
    });
}

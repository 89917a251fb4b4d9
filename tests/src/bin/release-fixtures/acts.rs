//! The requests of a client: every act, in an order that leaves the stream somewhere known.

use wsp::EventTime;
use wsp::control::{Request, WatchInterval};
use wsp::replay::{Act, OnBehalfOf, RateSteps, Speedup, TapSettings};

/// The lines, without their line feeds. The stream is told to hardly move by itself, and stopped
/// at the end.
pub fn requests() -> Vec<String> {
    let tap = |events, with_envelopes| {
        let settings = TapSettings::new(events, with_envelopes);
        Act::Tap(settings.expect("settings of a tap"))
    };
    let time = |text: &str| EventTime::parse(text).expect("a time");
    let rate = |text: &str| text.parse::<RateSteps>().expect("a rate");
    let every = WatchInterval::of_millis(100).expect("an interval");
    let pause = Request::Act {
        act: Act::Pause,
        on_behalf_of: Some(OnBehalfOf::new("Ann").expect("a name")),
    };
    let looks = [Request::Status, Request::Watch(every), pause];
    let acts = [
        tap(2, true),
        Act::Step(2),
        tap(1, false),
        Act::Step(1),
        Act::PauseAfter(1),
        Act::PauseAt(time("2026-01-28T08:59:00.123456789Z")),
        Act::ResumeAt(time("2126-01-28T08:00:00Z")),
        Act::SetPace(rate("2").into()),
        Act::SetPace(rate("0:2,60:3.5").into()),
        Act::SetPace(Speedup::new(0.5).expect("a speedup").into()),
        Act::Resume,
        Act::Stop,
    ];
    let requests = looks.into_iter().chain(acts.map(Request::from));
    requests
        .map(|request| request.to_line().trim_end().to_owned())
        .collect()
}

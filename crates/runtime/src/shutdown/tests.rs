//! The way out, walked on a paused clock with requests that a test sends itself.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Config, Request, Signal, Stage, begin};
use crate::readiness::{Readiness, State};

struct Walk {
    ask: mpsc::Sender<Request>,
    signal: Signal,
    readiness: Readiness,
    start: Instant,
}

impl Walk {
    fn new(drain_delay: u64, grace: u64) -> Self {
        let (ask, requests) = mpsc::channel(2);
        let readiness = Readiness::starting();
        readiness.set_ready();
        let config = Config { drain_delay: Duration::from_secs(drain_delay), grace: Duration::from_secs(grace) };
        let signal = begin(config, readiness.clone(), requests);
        let start = Instant::now();
        Self { ask, signal, readiness, start }
    }

    async fn ask(&self, request: Request) {
        self.ask.send(request).await.unwrap();
    }

    /// Seconds on the paused clock at which the stage began.
    async fn seconds_until(&self, stage: Stage) -> u64 {
        self.signal.reached(stage).await;
        self.start.elapsed().as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn terminate_drains_then_closes_then_ends() {
    let walk = Walk::new(5, 30);
    walk.ask(Request::Terminate).await;
    assert_eq!(walk.seconds_until(Stage::Draining).await, 0);
    assert_eq!(walk.signal.stage(), Stage::Draining);
    assert_eq!(walk.readiness.state(), State::Draining);
    assert_eq!(walk.seconds_until(Stage::Closing).await, 5);
    assert_eq!(walk.seconds_until(Stage::Ended).await, 35);
}

#[tokio::test(start_paused = true)]
async fn terminate_without_a_delay_closes_at_once() {
    let walk = Walk::new(0, 30);
    walk.ask(Request::Terminate).await;
    assert_eq!(walk.seconds_until(Stage::Closing).await, 0);
    assert_eq!(walk.readiness.state(), State::Draining);
}

#[tokio::test(start_paused = true)]
async fn interrupt_skips_the_delay() {
    let walk = Walk::new(5, 30);
    walk.ask(Request::Interrupt).await;
    assert_eq!(walk.seconds_until(Stage::Closing).await, 0);
    assert_eq!(walk.readiness.state(), State::Draining);
    assert_eq!(walk.seconds_until(Stage::Ended).await, 30);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_ends_while_draining() {
    let walk = Walk::new(5, 30);
    walk.ask(Request::Terminate).await;
    walk.signal.reached(Stage::Draining).await;
    walk.ask(Request::Terminate).await;
    assert_eq!(walk.seconds_until(Stage::Ended).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_ends_while_closing() {
    let walk = Walk::new(0, 30);
    walk.ask(Request::Terminate).await;
    walk.signal.reached(Stage::Closing).await;
    walk.ask(Request::Interrupt).await;
    assert_eq!(walk.seconds_until(Stage::Ended).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_goes_away_stops_nothing() {
    let Walk { ask, signal, readiness, .. } = Walk::new(0, 30);
    drop(ask);
    let hour = Duration::from_secs(3600);
    timeout(hour, signal.reached(Stage::Draining)).await.expect_err("nobody asked to stop");
    assert_eq!(readiness.state(), State::Ready);
}

#[tokio::test(start_paused = true)]
async fn never_stays_at_serving() {
    let signal = Signal::never();
    let hour = Duration::from_secs(3600);
    timeout(hour, signal.reached(Stage::Draining)).await.expect_err("this signal never moves");
    assert_eq!(signal.stage(), Stage::Serving);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_latches_closes_without_the_delay() {
    let walk = Walk::new(5, 30);
    walk.readiness.set_recovering("lost");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(walk.signal.stage(), Stage::Serving, "it may come back");
    walk.readiness.fail("lost for good");
    assert_eq!(walk.seconds_until(Stage::Closing).await, 60);
    assert_eq!(walk.seconds_until(Stage::Ended).await, 90);
}

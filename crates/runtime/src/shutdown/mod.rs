//! The order in which the server stops: not ready, still serving, closing, ended.
//!
//! A [`Request`] to stop (from the operating system's signals, or from a test) moves a [`Stage`]
//! forwards; whoever holds the [`Signal`] waits for the stage it cares about. This module decides
//! when each stage begins and closes nothing itself: the accept loop does that in `serve`, and
//! the inference worker is joined by whoever started it, after the accept loop has returned.
//!
//! | stage | begins | what it means |
//! |---|---|---|
//! | [`Stage::Serving`] | at the start | business as usual |
//! | [`Stage::Draining`] | first request to stop, or a failure that latches | not ready any more, yet every request is served |
//! | [`Stage::Closing`] | after [`Config::drain_delay`] | no new connections; what is in flight is answered |
//! | [`Stage::Ended`] | after [`Config::grace`], or at a request meanwhile | drop whatever is left |

mod os;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::time::Duration;

use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::readiness::Readiness;

pub use os::os_requests;

/// How long each step of the way out may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long requests are still served after readiness went off, so that a load balancer can
    /// notice before connections are refused. Zero by default.
    pub drain_delay: Duration,
    /// How long requests in flight may take once no new connection is accepted. 30 s by default.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { drain_delay: Duration::ZERO, grace: Duration::from_secs(30) }
    }
}

/// Somebody wants the server to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// In good order: an orchestrator's SIGTERM.
    Terminate,
    /// Without the drain delay: a person's Ctrl-C.
    Interrupt,
}

/// How far the shutdown has come. Stages are ordered and only ever move forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody asked to stop.
    Serving,
    /// Readiness is off; requests are still accepted.
    Draining,
    /// No new connections; requests in flight are being answered.
    Closing,
    /// Whatever is left is dropped.
    Ended,
}

/// A view of the current [`Stage`]. Clones see the same stage.
#[derive(Clone, Debug)]
pub struct Signal(watch::Receiver<Stage>);

impl Signal {
    /// A signal that stays at [`Stage::Serving`] for good, for programs that end by themselves.
    pub fn never() -> Self {
        Self(watch::channel(Stage::Serving).1)
    }

    /// The stage right now.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Returns once `stage` or a later one has begun; never, if that cannot happen any more.
    pub async fn reached(&self, stage: Stage) {
        let mut stages = self.0.clone();
        if stages.wait_for(|now| *now >= stage).await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Starts to wait for `requests` in a task of its own and returns the signal that they move.
///
/// A `requests` channel that closes counts as nobody asking; it does not stop the server.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn begin(config: Config, readiness: Readiness, requests: mpsc::Receiver<Request>) -> Signal {
    let (stage, signal) = watch::channel(Stage::Serving);
    tokio::spawn(walk(config, readiness, requests, stage));
    Signal(signal)
}

/// Walks through the stages, and gives up as soon as nobody looks at them any more.
async fn walk(
    config: Config,
    readiness: Readiness,
    mut requests: mpsc::Receiver<Request>,
    stage: watch::Sender<Stage>,
) {
    let first = select! {
        request = next(&mut requests) => request,
        reason = readiness.failed() => {
            tracing::error!(%reason, "the process cannot do its work any more, and ends");
            // Load balancers have been told, and waiting would bring nothing back.
            Request::Interrupt
        }
        () = stage.closed() => return,
    };
    readiness.set_draining();
    let delay = match first {
        Request::Terminate => config.drain_delay,
        Request::Interrupt => Duration::ZERO,
    };
    if !delay.is_zero() {
        tracing::info!(?delay, "asked to stop: not ready any more, still serving");
        stage.send_replace(Stage::Draining);
        select! {
            () = sleep(delay) => {}
            _ = next(&mut requests) => return end(&stage),
            () = stage.closed() => return,
        }
    }
    tracing::info!(grace = ?config.grace, "closing: requests in flight are answered first");
    stage.send_replace(Stage::Closing);
    select! {
        () = sleep(config.grace) => {
            tracing::warn!(grace = ?config.grace, "the grace is over");
            stage.send_replace(Stage::Ended);
        }
        _ = next(&mut requests) => end(&stage),
        () = stage.closed() => {}
    }
}

fn end(stage: &watch::Sender<Stage>) {
    tracing::warn!("asked to stop while stopping: ending at once");
    stage.send_replace(Stage::Ended);
}

async fn next(requests: &mut mpsc::Receiver<Request>) -> Request {
    match requests.recv().await {
        Some(request) => request,
        None => pending().await,
    }
}

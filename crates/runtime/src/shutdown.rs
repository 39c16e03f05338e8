//! Graceful shutdown in stages: not ready, still serving, closing, ended.
//!
//! A [`ShutdownRequest`] (from a signal of the operating system, or from a test) advances the [`Stage`]. Other modules wait
//! for a stage with a [`ShutdownSignal`] and act on it: the accept loop of the server closes connections, and the caller
//! that started the inference worker joins it after the accept loop has returned. This module only decides when a
//! stage begins.
//!
//! | stage | begins | meaning |
//! |---|---|---|
//! | [`Stage::Serving`] | at the start | normal operation |
//! | [`Stage::Draining`] | at the first request, or at a failure that only a restart can repair | not ready, but every request is served |
//! | [`Stage::Closing`] | after [`Config::drain_delay`] | no new connections; requests in flight are answered |
//! | [`Stage::Ended`] | after [`Config::grace`], or at a second request | remaining requests are dropped |

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::readiness::Readiness;

/// Durations of the shutdown stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long requests are still served after the process stops being ready, so that a load balancer can notice it
    /// before connections are refused. Zero by default.
    pub drain_delay: Duration,
    /// How long requests in flight may take once no new connection is accepted. 30 s by default.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { drain_delay: Duration::ZERO, grace: Duration::from_secs(30) }
    }
}

/// A request to stop the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownRequest {
    /// Stops with the drain delay: SIGTERM, as an orchestrator sends it.
    Terminate,
    /// Stops without the drain delay: Ctrl-C.
    Interrupt,
}

/// The progress of the shutdown. Stages are ordered and only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing has requested a shutdown.
    Serving,
    /// The process is not ready, but requests are accepted.
    Draining,
    /// New connections are refused. Requests in flight are answered.
    Closing,
    /// Remaining requests are dropped.
    Ended,
}

/// Shows the current [`Stage`]. Clones show the same stage.
#[derive(Clone, Debug)]
pub struct ShutdownSignal(watch::Receiver<Stage>);

impl ShutdownSignal {
    /// Returns a signal that stays at [`Stage::Serving`], for programs that end by themselves.
    pub fn never() -> Self {
        Self(watch::channel(Stage::Serving).1)
    }

    /// Returns the current stage.
    pub fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Waits until `stage` or a later one has begun. Never returns if the stage cannot begin any more.
    pub async fn reached(&self, stage: Stage) {
        let mut stages = self.0.clone();
        if stages.wait_for(|now| *now >= stage).await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Returns the signal that shows the stages, and the future that advances them on `requests`.
///
/// The future returns after the last stage, or if all signals are dropped. If the `requests` channel closes, the server
/// continues to run. If the future panics, readiness fails and the stage becomes [`Stage::Ended`], since nothing could
/// advance the stages any more.
pub fn controller(
    config: Config,
    readiness: Readiness,
    requests: mpsc::Receiver<ShutdownRequest>,
) -> (ShutdownSignal, impl Future<Output = ()> + Send + 'static) {
    let (stage, signal) = watch::channel(Stage::Serving);
    let stage = StageSender { stage, readiness: readiness.clone() };
    (ShutdownSignal(signal), async move { run(config, readiness, requests, &stage.stage).await })
}

/// Spawns the future of [`controller`] and returns its signal.
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub fn spawn_controller(
    config: Config,
    readiness: Readiness,
    requests: mpsc::Receiver<ShutdownRequest>,
) -> ShutdownSignal {
    let (signal, controller) = controller(config, readiness, requests);
    tokio::spawn(controller);
    signal
}

/// Ends the process if the controller panics.
struct StageSender {
    stage: watch::Sender<Stage>,
    readiness: Readiness,
}

impl Drop for StageSender {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.readiness.fail("the shutdown controller panicked");
            self.stage.send_replace(Stage::Ended);
        }
    }
}

/// Advances through the stages. Returns early if all signals are dropped.
async fn run(
    config: Config,
    readiness: Readiness,
    mut requests: mpsc::Receiver<ShutdownRequest>,
    stage: &watch::Sender<Stage>,
) {
    let first = select! {
        request = next(&mut requests) => request,
        reason = readiness.wait_for_failure() => {
            tracing::error!(%reason, "unrecoverable failure, shutting down");
            // The process is not ready already, and a delay repairs nothing.
            ShutdownRequest::Interrupt
        }
        () = stage.closed() => return,
    };
    readiness.set_draining();
    let delay = match first {
        ShutdownRequest::Terminate => config.drain_delay,
        ShutdownRequest::Interrupt => Duration::ZERO,
    };
    if !delay.is_zero() {
        tracing::info!(?delay, "shutdown requested: not ready, still serving");
        stage.send_replace(Stage::Draining);
        select! {
            () = sleep(delay) => {}
            _ = next(&mut requests) => return end(stage),
            () = stage.closed() => return,
        }
    }
    tracing::info!(grace = ?config.grace, "shutting down: answering requests in flight");
    stage.send_replace(Stage::Closing);
    select! {
        () = sleep(config.grace) => {
            tracing::warn!(grace = ?config.grace, "shutdown grace expired, dropping remaining requests");
            stage.send_replace(Stage::Ended);
        }
        _ = next(&mut requests) => end(stage),
        () = stage.closed() => {}
    }
}

fn end(stage: &watch::Sender<Stage>) {
    tracing::warn!("second shutdown request received, ending immediately");
    stage.send_replace(Stage::Ended);
}

async fn next(requests: &mut mpsc::Receiver<ShutdownRequest>) -> ShutdownRequest {
    match requests.recv().await {
        Some(request) => request,
        None => pending().await,
    }
}

/// Capacity of the channel of requests. Only the first two requests have an effect.
const PENDING_REQUESTS: usize = 2;

/// Listens for SIGTERM and SIGINT (on systems other than Unix: only for Ctrl-C), and returns the requests with the future that
/// sends them. The future returns when the receiver is dropped.
///
/// From now on these signals do not end the process by themselves.
///
/// # Errors
///
/// Returns an error if the operating system refuses to install a handler.
///
/// # Panics
///
/// Panics outside a tokio runtime.
#[cfg(unix)]
pub fn os_requests() -> io::Result<(mpsc::Receiver<ShutdownRequest>, impl Future<Output = ()> + Send + 'static)> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, requests) = mpsc::channel(PENDING_REQUESTS);
    let listen = async move {
        loop {
            let request = select! {
                Some(()) = terminate.recv() => ShutdownRequest::Terminate,
                Some(()) = interrupt.recv() => ShutdownRequest::Interrupt,
                () = sender.closed() => return,
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    };
    Ok((requests, listen))
}

/// Listens for Ctrl-C, and returns the requests with the future that sends them.
///
/// # Errors
///
/// Never returns an error. If the handler cannot be installed, the future logs a warning and sends nothing.
///
/// # Panics
///
/// Panics outside a tokio runtime.
#[cfg(not(unix))]
pub fn os_requests() -> io::Result<(mpsc::Receiver<ShutdownRequest>, impl Future<Output = ()> + Send + 'static)> {
    let (sender, requests) = mpsc::channel(PENDING_REQUESTS);
    let listen = async move {
        loop {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
                return sender.closed().await;
            }
            if sender.send(ShutdownRequest::Interrupt).await.is_err() {
                return;
            }
        }
    };
    Ok((requests, listen))
}

/// The stages on a paused clock, with requests that the test sends.
#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::readiness::ReadinessState;

    struct Harness {
        requests: mpsc::Sender<ShutdownRequest>,
        signal: ShutdownSignal,
        readiness: Readiness,
        start: Instant,
    }

    impl Harness {
        fn new(drain_delay: u64, grace: u64) -> Self {
            let (sender, requests) = mpsc::channel(2);
            let readiness = Readiness::starting();
            readiness.set_ready();
            let config = Config { drain_delay: Duration::from_secs(drain_delay), grace: Duration::from_secs(grace) };
            let signal = spawn_controller(config, readiness.clone(), requests);
            let start = Instant::now();
            Self { requests: sender, signal, readiness, start }
        }

        async fn send(&self, request: ShutdownRequest) {
            self.requests.send(request).await.unwrap();
        }

        /// Returns the second of the paused clock at which the stage began.
        async fn seconds_until(&self, stage: Stage) -> u64 {
            self.signal.reached(stage).await;
            self.start.elapsed().as_secs()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn terminate_drains_then_closes_then_ends() {
        let harness = Harness::new(5, 30);
        harness.send(ShutdownRequest::Terminate).await;
        assert_eq!(harness.seconds_until(Stage::Draining).await, 0);
        assert_eq!(harness.signal.stage(), Stage::Draining);
        assert_eq!(harness.readiness.state(), ReadinessState::Draining);
        assert_eq!(harness.seconds_until(Stage::Closing).await, 5);
        assert_eq!(harness.seconds_until(Stage::Ended).await, 35);
    }

    #[tokio::test(start_paused = true)]
    async fn terminate_without_a_delay_closes_immediately() {
        let harness = Harness::new(0, 30);
        harness.send(ShutdownRequest::Terminate).await;
        assert_eq!(harness.seconds_until(Stage::Closing).await, 0);
        assert_eq!(harness.readiness.state(), ReadinessState::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn interrupt_skips_the_delay() {
        let harness = Harness::new(5, 30);
        harness.send(ShutdownRequest::Interrupt).await;
        assert_eq!(harness.seconds_until(Stage::Closing).await, 0);
        assert_eq!(harness.readiness.state(), ReadinessState::Draining);
        assert_eq!(harness.seconds_until(Stage::Ended).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn second_request_ends_while_draining() {
        let harness = Harness::new(5, 30);
        harness.send(ShutdownRequest::Terminate).await;
        harness.signal.reached(Stage::Draining).await;
        harness.send(ShutdownRequest::Terminate).await;
        assert_eq!(harness.seconds_until(Stage::Ended).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn second_request_ends_while_closing() {
        let harness = Harness::new(0, 30);
        harness.send(ShutdownRequest::Terminate).await;
        harness.signal.reached(Stage::Closing).await;
        harness.send(ShutdownRequest::Interrupt).await;
        assert_eq!(harness.seconds_until(Stage::Ended).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn closed_request_channel_does_not_stop_the_server() {
        let Harness { requests, signal, readiness, .. } = Harness::new(0, 30);
        drop(requests);
        let hour = Duration::from_secs(3600);
        timeout(hour, signal.reached(Stage::Draining)).await.expect_err("nothing requested a shutdown");
        assert_eq!(readiness.state(), ReadinessState::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn never_stays_at_serving() {
        let signal = ShutdownSignal::never();
        let hour = Duration::from_secs(3600);
        timeout(hour, signal.reached(Stage::Draining)).await.expect_err("this signal never advances");
        assert_eq!(signal.stage(), Stage::Serving);
    }

    #[tokio::test(start_paused = true)]
    async fn unrecoverable_failure_closes_without_the_delay() {
        let harness = Harness::new(5, 30);
        harness.readiness.set_recovering("lost");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(harness.signal.stage(), Stage::Serving, "the engine may recover");
        harness.readiness.fail("lost permanently");
        assert_eq!(harness.seconds_until(Stage::Closing).await, 60);
        assert_eq!(harness.seconds_until(Stage::Ended).await, 90);
    }

    /// Sends a signal to this process. The handler must be installed, or the signal ends the process.
    #[cfg(unix)]
    fn send_self(signal: &str) {
        let status =
            std::process::Command::new("kill").args(["-s", signal, &std::process::id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn os_signals_become_requests() {
        let (mut requests, listen) = os_requests().unwrap();
        tokio::spawn(listen);
        send_self("TERM");
        assert_eq!(requests.recv().await, Some(ShutdownRequest::Terminate));
        send_self("INT");
        assert_eq!(requests.recv().await, Some(ShutdownRequest::Interrupt));
    }
}

//! Supervises background tasks, which run as long as the server. If such a task panics, fails or ends, the supervisor logs it
//! at the error level with the name of the task, and records it in the [`Readiness`]. What follows depends on the kind of task:
//!
//! | kind | then | for a task |
//! |---|---|---|
//! | [`Supervisor::spawn_restarting`] | it starts again after a backoff of 1 s to 1 min; the server stays ready | that keeps something current, such as keys: requests are answered with the previous state |
//! | [`Supervisor::spawn_required`] | readiness fails, so the server shuts down in order and the process exits with status 1 | without which the server cannot work or cannot stop |
//!
//! During a shutdown tasks end as they should, and none is restarted.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::readiness::{Readiness, TaskFailure};
use crate::shutdown::{ShutdownSignal, Stage};

/// The backoff after the first failure. Each further failure doubles it.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// The maximum backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A restarted task that runs this long has recovered: its failure is no longer shown, and its backoff starts again.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// The output of a supervised task.
pub type TaskResult = Result<(), Box<dyn Error + Send + Sync>>;

/// The background tasks of a server. Dropping it aborts them.
#[derive(Debug)]
pub struct Supervisor {
    readiness: Readiness,
    shutdown: ShutdownSignal,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Creates a supervisor without tasks, which records failures in `readiness` until `shutdown` begins.
    pub fn new(readiness: Readiness, shutdown: ShutdownSignal) -> Self {
        Self { readiness, shutdown, tasks: JoinSet::new() }
    }

    /// Spawns the task that `start` returns, and starts it again after a backoff whenever it ends before the shutdown.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn_restarting<F>(&mut self, name: &'static str, mut start: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = TaskResult> + Send + 'static,
    {
        let mut restarts = self.restarts(name);
        self.tasks.spawn(async move { while restarts.run(start()).await {} });
    }

    /// Spawns a task. If it ends before the shutdown, readiness fails, which shuts the server down.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn spawn_required(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (readiness, shutdown) = (self.readiness.clone(), self.shutdown.clone());
        self.tasks.spawn(async move {
            let failure = run_to_end(ok(task)).await;
            if failure != TaskFailure::Ended || shutdown.stage() == Stage::Serving {
                fail(name, &readiness, failure);
            }
        });
    }

    /// Returns the supervision of a restarting task that the caller runs itself, because the task borrows from the caller.
    pub fn restarts(&self, name: &'static str) -> Restarts {
        Restarts { name, readiness: self.readiness.clone(), shutdown: self.shutdown.clone(), backoff: MIN_BACKOFF }
    }
}

/// Runs `task`. If it panics, logs the panic and fails `readiness`. For a task that may end at any time, but not by a panic.
pub async fn fail_on_panic(name: &'static str, readiness: Readiness, task: impl Future<Output = ()>) {
    let failure = run_to_end(ok(task)).await;
    if failure != TaskFailure::Ended {
        fail(name, &readiness, failure);
    }
}

fn fail(name: &'static str, readiness: &Readiness, failure: TaskFailure) {
    tracing::error!(task = name, reason = %failure, "a required background task failed");
    let reason = format!("the background task '{name}' failed: {failure}");
    readiness.set_task_failed(name, failure);
    readiness.fail(reason);
}

/// The supervision of one restarting task.
#[derive(Debug)]
pub struct Restarts {
    name: &'static str,
    readiness: Readiness,
    shutdown: ShutdownSignal,
    /// Before the next start.
    backoff: Duration,
}

impl Restarts {
    /// Runs `task` until it ends, and waits for the backoff. Returns whether the task is to be started again: false if the
    /// shutdown has begun.
    pub async fn run(&mut self, task: impl Future<Output = TaskResult>) -> bool {
        let mut end = pin!(run_to_end(task));
        let early_end = select! {
            failure = &mut end => Some(failure),
            () = sleep(RECOVERED_AFTER) => None,
        };
        let failure = match early_end {
            Some(failure) => failure,
            None => {
                self.readiness.set_task_running(self.name);
                self.backoff = MIN_BACKOFF;
                end.await
            }
        };
        let is_shutting_down = self.shutdown.stage() > Stage::Serving;
        if is_shutting_down && failure == TaskFailure::Ended {
            return false;
        }
        let (task, backoff) = (self.name, self.backoff);
        tracing::error!(task, reason = %failure, ?backoff, "a background task failed; it starts again after the backoff");
        self.readiness.set_task_failed(task, failure);
        self.backoff = (backoff * 2).min(MAX_BACKOFF);
        select! {
            biased;
            () = self.shutdown.reached(Stage::Draining) => false,
            () = sleep(backoff) => true,
        }
    }
}

/// Returns the task as one that returns no error.
async fn ok(task: impl Future<Output = ()>) -> TaskResult {
    task.await;
    Ok(())
}

/// Runs a task to its end, which is a failure: a supervised task should run as long as the server.
async fn run_to_end(task: impl Future<Output = TaskResult>) -> TaskFailure {
    // The task is not polled again after a panic. What it shares with others is behind locks and atomic values.
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(Ok(())) => TaskFailure::Ended,
        Ok(Err(error)) => TaskFailure::Failed(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            TaskFailure::Panicked(text.unwrap_or("no message").to_string())
        }
    }
}

/// The supervisor on a paused clock, with a log in memory.
#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::readiness::ReadinessState;
    use crate::shutdown::{self, ShutdownRequest};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        /// Collects the log lines of this thread until the guard is dropped.
        fn collect() -> (Self, DefaultGuard) {
            let log = Self::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
            (log, tracing::subscriber::set_default(subscriber))
        }

        fn errors(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().filter(|line| line.contains("ERROR")).map(String::from).collect()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A supervisor of a ready server.
    struct Harness {
        supervisor: Supervisor,
        readiness: Readiness,
        signal: ShutdownSignal,
        requests: mpsc::Sender<ShutdownRequest>,
        log: Log,
        _guard: DefaultGuard,
    }

    impl Harness {
        fn new() -> Self {
            let (log, guard) = Log::collect();
            let readiness = Readiness::starting();
            readiness.set_ready();
            let (requests, received) = mpsc::channel(2);
            let signal = shutdown::spawn_controller(shutdown::Config::default(), readiness.clone(), received);
            let supervisor = Supervisor::new(readiness.clone(), signal.clone());
            Self { supervisor, readiness, signal, requests, log, _guard: guard }
        }
    }

    async fn panic_with(message: &'static str) {
        panic!("{message}")
    }

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[tokio::test(start_paused = true)]
    async fn task_that_panics_is_logged_shown_and_restarted_with_a_backoff() {
        let mut harness = Harness::new();
        let (starts, mut started) = mpsc::unbounded_channel();
        let begin = Instant::now();
        harness.supervisor.spawn_restarting("key reloading", move || {
            starts.send(begin.elapsed().as_secs()).unwrap();
            ok(panic_with("key 7 is missing"))
        });
        for expected in [0, 1, 3, 7, 15, 31, 63, 123, 183] {
            assert_eq!(started.recv().await, Some(expected));
        }
        let failure = TaskFailure::Panicked("key 7 is missing".to_string());
        assert_eq!(harness.readiness.failed_tasks(), [("key reloading", failure)]);
        assert_eq!(harness.readiness.state(), ReadinessState::Ready, "the server works without the task");
        assert_eq!(harness.signal.stage(), Stage::Serving);
        let errors = harness.log.errors();
        assert_eq!(errors.len(), 9, "{errors:#?}");
        assert!(errors.iter().all(|line| line.contains("key reloading") && line.contains("key 7 is missing")));
    }

    #[tokio::test(start_paused = true)]
    async fn error_and_unexpected_end_are_failures_until_the_task_runs_for_a_minute() {
        let mut harness = Harness::new();
        let starts = Arc::new(AtomicUsize::new(0));
        harness.supervisor.spawn_restarting("metrics listener", move || {
            let start = starts.fetch_add(1, Ordering::Relaxed);
            async move {
                let result: TaskResult = match start {
                    0 => Err("the address is in use".into()),
                    1 => Ok(()),
                    _ => pending().await,
                };
                result
            }
        });
        let failed = || harness.readiness.failed_tasks().into_iter().map(|(_, failure)| failure).collect::<Vec<_>>();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(failed(), [TaskFailure::Failed("the address is in use".to_string())]);
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(failed(), [TaskFailure::Ended]);
        sleep(seconds(30)).await;
        assert_eq!(failed(), [TaskFailure::Ended], "the task may fail again");
        sleep(seconds(60)).await;
        assert!(failed().is_empty(), "{:?}", failed());
        assert_eq!(harness.log.errors().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn required_task_that_panics_shuts_the_server_down() {
        let mut harness = Harness::new();
        harness.supervisor.spawn_required("signal handler", panic_with("no pipe"));
        harness.signal.reached(Stage::Closing).await;
        let reason = "the background task 'signal handler' failed: it panicked: no pipe".to_string();
        assert_eq!(harness.readiness.state(), ReadinessState::Failed(reason));
        assert_eq!(harness.readiness.failed_tasks()[0].0, "signal handler");
        assert!(harness.log.errors()[0].contains("signal handler"), "{:?}", harness.log.errors());
    }

    #[tokio::test(start_paused = true)]
    async fn end_during_the_shutdown_is_no_failure() {
        let mut harness = Harness::new();
        let signal = harness.signal.clone();
        harness.supervisor.spawn_restarting("metrics listener", move || {
            let signal = signal.clone();
            ok(async move { signal.reached(Stage::Closing).await })
        });
        let signal = harness.signal.clone();
        harness.supervisor.spawn_required("controller", async move { signal.reached(Stage::Closing).await });
        harness.requests.send(ShutdownRequest::Terminate).await.unwrap();
        while harness.supervisor.tasks.join_next().await.is_some() {}
        assert_eq!(harness.readiness.state(), ReadinessState::Draining);
        assert_eq!((harness.readiness.failed_tasks(), harness.log.errors()), (Vec::new(), Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn panic_of_the_shutdown_controller_ends_the_server() {
        let (_log, _guard) = Log::collect();
        let readiness = Readiness::starting();
        let (_requests, received) = mpsc::channel(2);
        let (signal, controller) = shutdown::controller(shutdown::Config::default(), readiness.clone(), received);
        let mut supervisor = Supervisor::new(readiness.clone(), signal.clone());
        supervisor.spawn_required("shutdown controller", async move {
            let _controller = controller;
            panic_with("the controller is broken").await;
        });
        signal.reached(Stage::Ended).await;
        assert_eq!(readiness.state().as_str(), "failed");
    }
}

//! The first steps of a command: the check of the thread limit, and the log.

use std::io;
use std::sync::Mutex;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use kiln_runtime::telemetry::logging::{self, LogGuard, LoggingError};

use crate::config::{self, Config};

/// Threads that a command starts besides the runtime's workers: the log, its reporter, blocking tasks.
const OTHER_THREADS: usize = 6;

/// Returns an error if the operating system refuses the threads without which no command can run. tokio and the log would
/// panic. Call it while the process has one thread.
///
/// # Errors
///
/// The error of the operating system.
pub fn check_thread_limit() -> io::Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    start_threads(workers + OTHER_THREADS, |scope, gate| Builder::new().spawn_scoped(scope, move || drop(gate.lock())))
}

/// Calls `start` `count` times with a gate that the new threads wait for, so that all of them exist at the same time. All
/// have ended when it returns.
fn start_threads(
    count: usize,
    start: impl for<'scope> Fn(&'scope Scope<'scope, '_>, &'scope Mutex<()>) -> io::Result<ScopedJoinHandle<'scope, ()>>,
) -> io::Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        // Opened when this closure ends, before the scope waits for the threads.
        let _closed = gate.lock();
        (0..count).try_for_each(|_| start(scope, &gate).map(drop))
    })
}

/// Starts the log, and reports environment variables that look like settings but are none.
///
/// # Errors
///
/// The log file cannot be opened, or a thread cannot be started.
pub(super) fn init_logging(config: &Config) -> Result<LogGuard, LoggingError> {
    let guard = logging::init(&config.logging)?;
    for warning in config::unknown_variables(std::env::vars_os()) {
        tracing::warn!("{warning}");
    }
    Ok(guard)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn usual_limit_allows_the_threads_of_every_command() {
        check_thread_limit().unwrap();
    }

    #[test]
    fn refused_thread_is_an_error_and_the_started_ones_end() {
        let started = AtomicUsize::new(0);
        let refused = start_threads(5, |scope, gate| {
            if started.load(Ordering::Relaxed) == 3 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            started.fetch_add(1, Ordering::Relaxed);
            Builder::new().spawn_scoped(scope, move || drop(gate.lock()))
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(started.into_inner(), 3);
    }
}

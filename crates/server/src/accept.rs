//! Accepts connections: retries with a backoff, the connection limit, and the limit on open files that it requires.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

/// Backoff after the first failure. Each further failure in a row doubles it.
const MIN_BACKOFF: Duration = Duration::from_millis(10);
/// Maximum backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Minimum interval between two warnings about the connection limit.
const LIMIT_WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Number of open files besides the connections: logs, devices, the caches of the models.
const OTHER_OPEN_FILES: usize = 256;

/// Limits the number of open connections.
pub(super) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    last_warning: Option<Instant>,
}

impl ConnectionLimit {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_connections)), last_warning: None }
    }

    /// Waits until a connection may be opened. Meanwhile nothing is accepted: further connections wait in the listen backlog
    /// of the kernel, which refuses them when it is full. The server's memory does not grow with the number of clients.
    pub(super) async fn acquire(&mut self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return permit;
        }
        if self.last_warning.is_none_or(|at| at.elapsed() >= LIMIT_WARNING_INTERVAL) {
            tracing::warn!("the connection limit is reached; new connections wait in the listen backlog");
            self.last_warning = Some(Instant::now());
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }
}

/// Returns the number of open files that a server with this limit on connections may need.
pub fn open_files_needed(max_connections: usize) -> u64 {
    (max_connections + OTHER_OPEN_FILES) as u64
}

/// Raises the soft limit on open files to the number that `max_connections` may need. The usual soft limit is 1024, and a
/// process may raise it up to the hard limit.
pub(super) fn raise_open_file_limit(max_connections: usize) {
    let needed = open_files_needed(max_connections);
    match rlimit::increase_nofile_limit(needed) {
        Ok(allowed) if allowed >= needed => {}
        Ok(allowed) => {
            tracing::warn!(
                allowed,
                needed,
                "the limit on open files is lower than --max-connections may need; raise it (ulimit -Hn)"
            );
        }
        Err(error) => tracing::debug!(%error, "cannot read the limit on open files"),
    }
}

/// Calls `accept` until it returns a connection.
///
/// A connection that failed in the backlog is skipped at once. Any other failure, such as a lack of file descriptors or memory,
/// is likely to repeat, so a backoff precedes the next call.
///
/// # Errors
///
/// Returns an error if the listening socket itself is broken.
pub(super) async fn accept_with_retry<T, F>(accept: impl Fn() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut backoff = MIN_BACKOFF;
    loop {
        let error = match accept().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match error.kind() {
            _ if is_connection_error(&error) => {}
            ErrorKind::InvalidInput => return Err(error),
            _ => {
                tracing::warn!(%error, ?backoff, "cannot accept a connection; retrying");
                sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
            }
        }
    }
}

/// Calls `accept`, which must not block, until it returns no more connections.
pub(super) fn drain_backlog<T>(accept: impl Fn() -> io::Result<T>) -> impl Iterator<Item = T> {
    std::iter::repeat_with(accept)
        .filter(|accepted| !accepted.as_ref().is_err_and(is_connection_error))
        .map_while(Result::ok)
}

/// Returns whether the error concerns one connection in the backlog and not the listener.
fn is_connection_error(error: &io::Error) -> bool {
    let is_connection_error = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    );
    if is_connection_error {
        tracing::debug!(%error, "a connection failed before it was accepted");
    }
    is_connection_error
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::time::Instant;

    use super::*;

    /// Returns the given results one after the other, and the time of each call in milliseconds.
    async fn accept_results(results: Vec<io::Result<()>>) -> (io::Result<()>, Vec<u128>) {
        let start = Instant::now();
        let times = RefCell::new(Vec::new());
        let results: RefCell<Vec<_>> = RefCell::new(results.into_iter().rev().collect());
        let last = accept_with_retry(|| async {
            times.borrow_mut().push(start.elapsed().as_millis());
            results.borrow_mut().pop().expect("called too often")
        })
        .await;
        (last, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn backoff_doubles_up_to_one_second() {
        let mut results: Vec<_> = (0..9).map(|_| Err(io::Error::other("no file descriptor left"))).collect();
        results.push(Ok(()));
        let (last, times) = accept_results(results).await;
        last.unwrap();
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_connection_is_skipped_without_backoff() {
        let results = vec![Err(ErrorKind::ConnectionAborted.into()), Err(ErrorKind::ConnectionReset.into()), Ok(())];
        let (last, times) = accept_results(results).await;
        last.unwrap();
        assert_eq!(times, [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn broken_listener_is_an_error() {
        let calls = Cell::new(0);
        let last: io::Result<()> = accept_with_retry(|| async {
            calls.set(calls.get() + 1);
            Err(ErrorKind::InvalidInput.into())
        })
        .await;
        assert_eq!(last.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(calls.get(), 1);
    }

    #[test]
    fn draining_the_backlog_skips_failed_connections() {
        let mut results = vec![Ok(1), Err(ErrorKind::ConnectionAborted), Ok(2), Err(ErrorKind::WouldBlock), Ok(3)];
        results.reverse();
        let results = RefCell::new(results);
        let accept = || results.borrow_mut().pop().expect("called too often").map_err(io::Error::from);
        assert_eq!(drain_backlog(accept).collect::<Vec<_>>(), [1, 2]);
    }
}

//! Taking the next connection, however often that fails, or all that are left. Nothing here knows what a connection is.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::time::sleep;

/// The first pause after a failure; each further failure in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause: what an exhausted process waits before it looks again.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Calls `accept` until it gives a connection.
///
/// A connection that died in the backlog is skipped at once. Anything else (no file descriptor or
/// memory left) is likely to fail again, so it waits instead of spinning.
///
/// # Errors
///
/// If the listening socket itself is broken.
pub(super) async fn next<T, F>(accept: impl Fn() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match accept().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        match error.kind() {
            _ if is_dead(&error) => {}
            ErrorKind::InvalidInput => return Err(error),
            _ => {
                tracing::warn!(%error, ?pause, "cannot accept a connection; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What `accept`, which does not block, gives until it has no more.
pub(super) fn waiting<T>(accept: impl Fn() -> io::Result<T>) -> impl Iterator<Item = T> {
    std::iter::repeat_with(accept).filter(|accepted| !accepted.as_ref().is_err_and(is_dead)).map_while(Result::ok)
}

/// Whether only the one connection is lost, which died in the backlog.
fn is_dead(error: &io::Error) -> bool {
    let dead = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    );
    if dead {
        tracing::debug!(%error, "a connection died before it was accepted");
    }
    dead
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tokio::time::Instant;

    use super::*;

    /// Plays a list of outcomes and reports when, in milliseconds, each was asked for.
    async fn play(outcomes: Vec<io::Result<()>>) -> (io::Result<()>, Vec<u128>) {
        let start = Instant::now();
        let times = RefCell::new(Vec::new());
        let outcomes: RefCell<Vec<_>> = RefCell::new(outcomes.into_iter().rev().collect());
        let last = next(|| async {
            times.borrow_mut().push(start.elapsed().as_millis());
            outcomes.borrow_mut().pop().expect("asked too often")
        })
        .await;
        (last, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn an_exhausted_process_backs_off_up_to_a_second() {
        let mut outcomes: Vec<_> = (0..9).map(|_| Err(io::Error::other("no file descriptor left"))).collect();
        outcomes.push(Ok(()));
        let (last, times) = play(outcomes).await;
        last.unwrap();
        let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_died_is_skipped_at_once() {
        let outcomes = vec![Err(ErrorKind::ConnectionAborted.into()), Err(ErrorKind::ConnectionReset.into()), Ok(())];
        let (last, times) = play(outcomes).await;
        last.unwrap();
        assert_eq!(times, [0, 0, 0]);
    }

    #[test]
    fn of_those_that_wait_the_dead_are_skipped_and_the_others_are_all_taken() {
        let mut outcomes = vec![Ok(1), Err(ErrorKind::ConnectionAborted), Ok(2), Err(ErrorKind::WouldBlock), Ok(3)];
        outcomes.reverse();
        let outcomes = RefCell::new(outcomes);
        let accept = || outcomes.borrow_mut().pop().expect("asked too often").map_err(io::Error::from);
        assert_eq!(waiting(accept).collect::<Vec<_>>(), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_listener_is_reported() {
        let asked = Cell::new(0);
        let last: io::Result<()> = next(|| async {
            asked.set(asked.get() + 1);
            Err(ErrorKind::InvalidInput.into())
        })
        .await;
        assert_eq!(last.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(asked.get(), 1);
    }
}

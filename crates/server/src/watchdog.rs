//! The timer that waits for the deadline of a connection, see [`ConnectionTracker::deadline`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection_timeouts::{ConnectionTracker, TimeLimit};

/// The timer of one connection. It must be polled after the connection and in the same task: every event that moves the deadline
/// happens while the connection is polled, or wakes its task.
pub(super) struct Watchdog {
    tracker: Arc<ConnectionTracker>,
    sleep: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(tracker: Arc<ConnectionTracker>) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now() + tracker.max_check_interval()));
        Self { tracker, sleep }
    }

    /// Returns when the connection has reached a time limit.
    pub(super) async fn expired(&mut self) -> TimeLimit {
        poll_fn(|context| self.poll(context)).await
    }

    /// Each request usually moves the deadline later, and the timer is not reset for that: it fires early, reads the new deadline and
    /// sleeps again. Only an earlier deadline resets the timer.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<TimeLimit> {
        loop {
            let limit = match self.tracker.deadline() {
                Some((deadline, limit)) => {
                    if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
                        self.sleep.as_mut().reset(deadline);
                    }
                    (self.sleep.deadline() >= deadline).then_some(limit)
                }
                None => {
                    if self.sleep.is_elapsed() {
                        let next_check = Instant::now() + self.tracker.max_check_interval();
                        self.sleep.as_mut().reset(next_check);
                    }
                    None
                }
            };
            ready!(self.sleep.as_mut().poll(context));
            if let Some(limit) = limit {
                return Poll::Ready(limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poem::http::Version;
    use tokio::time::timeout;

    use super::*;
    use crate::config::Config;

    /// A connection opened at second 0, with limits of 10 s (request head) and 75 s (idle).
    struct TestConnection {
        tracker: Arc<ConnectionTracker>,
        watchdog: Watchdog,
        start: Instant,
    }

    impl TestConnection {
        fn new() -> Self {
            let tracker = ConnectionTracker::new(&Config::default());
            let watchdog = Watchdog::new(Arc::clone(&tracker));
            let start = Instant::now();
            Self { tracker, watchdog, start }
        }

        /// Advances the time to `second` and checks that nothing expires before.
        async fn advance_to(&mut self, second: u64) {
            let left = self.start + Duration::from_secs(second) - Instant::now();
            let early = timeout(left, self.watchdog.expired()).await;
            assert!(early.is_err(), "{early:?} before second {second}");
        }

        async fn expires(&mut self) -> (TimeLimit, u64) {
            let limit = self.watchdog.expired().await;
            (limit, self.start.elapsed().as_secs())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_request_head_gets_no_extra_time() {
        let mut connection = TestConnection::new();
        connection.advance_to(3).await;
        connection.tracker.record_read();
        connection.advance_to(9).await;
        connection.tracker.record_read();
        assert_eq!(connection.expires().await, (TimeLimit::ReadingHead, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn request_has_no_limit_and_idle_time_starts_after_the_last_write() {
        let mut connection = TestConnection::new();
        let request = connection.tracker.begin_request(Version::HTTP_11);
        connection.advance_to(500).await;
        drop(request);
        connection.advance_to(540).await;
        connection.tracker.record_write();
        assert_eq!(connection.expires().await, (TimeLimit::Idle, 615));
    }

    #[tokio::test(start_paused = true)]
    async fn later_request_head_has_its_own_deadline() {
        let mut connection = TestConnection::new();
        drop(connection.tracker.begin_request(Version::HTTP_11));
        connection.advance_to(60).await;
        connection.tracker.record_read();
        connection.advance_to(65).await;
        connection.tracker.record_read();
        assert_eq!(connection.expires().await, (TimeLimit::ReadingHead, 70));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_on_an_idle_http2_connection_do_not_extend_the_idle_time() {
        let mut connection = TestConnection::new();
        drop(connection.tracker.begin_request(Version::HTTP_2));
        connection.advance_to(60).await;
        connection.tracker.record_read();
        connection.tracker.record_write();
        assert_eq!(connection.expires().await, (TimeLimit::Idle, 75));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_connection_expires_after_the_grace() {
        let mut connection = TestConnection::new();
        drop(connection.tracker.begin_request(Version::HTTP_2));
        connection.advance_to(60).await;
        connection.tracker.begin_closing();
        connection.tracker.record_read();
        connection.tracker.record_write();
        assert_eq!(connection.expires().await, (TimeLimit::Closing, 65));
    }
}

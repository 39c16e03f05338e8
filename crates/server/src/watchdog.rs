//! The timer that waits for a connection's deadline. The deadline itself is `activity`'s.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::{Activity, Limit};

/// One timer for a connection. It has to be polled after the connection and in the same task:
/// whatever moves the deadline happens while the connection is polled, or wakes it.
pub(super) struct Watchdog {
    activity: Arc<Activity>,
    sleep: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now() + activity.longest_wait()));
        Self { activity, sleep }
    }

    /// Returns once the connection has reached a limit.
    pub(super) async fn expired(&mut self) -> Limit {
        poll_fn(|context| self.poll(context)).await
    }

    /// Deadlines mostly move back, with every request, so the timer is left alone then: it goes
    /// off early, sees the new deadline and sleeps on. Only an earlier deadline resets it.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Limit> {
        loop {
            let limit = match self.activity.deadline() {
                Some((deadline, limit)) => {
                    if deadline < self.sleep.deadline() || self.sleep.is_elapsed() {
                        self.sleep.as_mut().reset(deadline);
                    }
                    (self.sleep.deadline() >= deadline).then_some(limit)
                }
                None => {
                    if self.sleep.is_elapsed() {
                        let later = Instant::now() + self.activity.longest_wait();
                        self.sleep.as_mut().reset(later);
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

    use super::super::Config;
    use super::*;

    /// A connection accepted at second 0, with limits of 10 s (header) and 75 s (idle).
    struct Watched {
        activity: Arc<Activity>,
        watchdog: Watchdog,
        start: Instant,
    }

    impl Watched {
        fn new() -> Self {
            let activity = Activity::new(&Config::default());
            let watchdog = Watchdog::new(Arc::clone(&activity));
            let start = Instant::now();
            Self { activity, watchdog, start }
        }

        /// Lets time pass up to `second`; nothing may expire before.
        async fn at(&mut self, second: u64) {
            let left = self.start + Duration::from_secs(second) - Instant::now();
            let early = timeout(left, self.watchdog.expired()).await;
            assert!(early.is_err(), "{early:?} before second {second}");
        }

        async fn expires(&mut self) -> (Limit, u64) {
            let limit = self.watchdog.expired().await;
            (limit, self.start.elapsed().as_secs())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_in_drops_gets_no_more_time() {
        let mut watched = Watched::new();
        watched.at(3).await;
        watched.activity.received();
        watched.at(9).await;
        watched.activity.received();
        assert_eq!(watched.expires().await, (Limit::Header, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_take_its_time_and_then_the_connection_idles() {
        let mut watched = Watched::new();
        let handling = watched.activity.handle(Version::HTTP_11);
        watched.at(500).await;
        drop(handling);
        watched.at(540).await;
        watched.activity.sent();
        assert_eq!(watched.expires().await, (Limit::Idle, 615));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_header_has_its_own_deadline() {
        let mut watched = Watched::new();
        drop(watched.activity.handle(Version::HTTP_11));
        watched.at(60).await;
        watched.activity.received();
        watched.at(65).await;
        watched.activity.received();
        assert_eq!(watched.expires().await, (Limit::Header, 70));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_on_an_idle_http2_connection_are_no_header_and_no_use() {
        let mut watched = Watched::new();
        drop(watched.activity.handle(Version::HTTP_2));
        watched.at(60).await;
        watched.activity.received();
        watched.activity.sent();
        assert_eq!(watched.expires().await, (Limit::Idle, 75));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_told_to_go_does_not_stay() {
        let mut watched = Watched::new();
        drop(watched.activity.handle(Version::HTTP_2));
        watched.at(60).await;
        watched.activity.leave();
        watched.activity.received();
        watched.activity.sent();
        assert_eq!(watched.expires().await, (Limit::Farewell, 65));
    }
}

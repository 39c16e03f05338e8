//! Who a caller is, and what he may do and take.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::scope::{Scope, Scopes};
use kiln_runtime::scheduling::{Priority, Share};

/// Someone whose key or token was right.
#[derive(Debug)]
pub struct Account {
    /// His name in logs.
    pub id: String,
    /// What he stands under in metrics: a bounded set, so all tokens are one.
    pub label: String,
    /// What he may do.
    pub scopes: Scopes,
    /// From when on he may do nothing.
    pub expires: Option<SystemTime>,
    /// How often he may ask.
    pub rate: Option<Arc<Rate>>,
    /// His part of the queue.
    pub share: Option<Share>,
    /// The priority of his pictures. Where it is absent, each request may choose any.
    pub priority: Option<Priority>,
}

/// Requests a second, with a reserve for bursts: the generic cell rate algorithm.
#[derive(Debug)]
pub struct Rate {
    limit: RateLimit,
    limiter: DefaultDirectRateLimiter,
}

/// How many requests a second, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Above 0; less than 1 is fine.
    pub per_second: f64,
    /// 1 or more.
    pub burst: NonZeroU32,
}

impl Account {
    /// The one whose key the operator gave to the whole server.
    pub(super) fn operator() -> Self {
        Self {
            id: "default".to_string(),
            label: "default".to_string(),
            scopes: Scopes::all(),
            expires: None,
            rate: None,
            share: None,
            priority: None,
        }
    }

    /// Whether he may do that.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether his time is over.
    pub(super) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= SystemTime::now())
    }

    /// Counts one request.
    ///
    /// # Errors
    ///
    /// He asks too often; the time tells when the next request is welcome.
    pub fn count(&self) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.count())
    }
}

impl Rate {
    /// A limit with nothing used up.
    ///
    /// # Panics
    ///
    /// The rate is not above 0, or far below what [`rate`](super::rate) lets pass.
    pub(super) fn new(limit: RateLimit) -> Self {
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / limit.per_second)).expect("a rate above 0");
        Self { limit, limiter: RateLimiter::direct(quota.allow_burst(limit.burst)) }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    fn count(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_lets_a_burst_through_and_then_says_when_to_come_again() {
        let burst = NonZeroU32::new(3).unwrap();
        let rate = Some(Arc::new(Rate::new(RateLimit { per_second: 0.01, burst })));
        let account = Account { rate, ..Account::operator() };
        for _ in 0..3 {
            account.count().unwrap();
        }
        let wait = account.count().unwrap_err();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        assert!(Account::operator().count().is_ok());
    }

    #[test]
    fn who_has_an_end_has_expired_from_then_on() {
        let end = |expires| Account { expires: Some(expires), ..Account::operator() }.has_expired();
        assert!(end(SystemTime::now()));
        assert!(!end(SystemTime::now() + Duration::from_secs(60)));
        assert!(!Account::operator().has_expired());
    }
}

//! The principal: an authenticated caller with its permissions and limits.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};

use super::scope::{Scope, Scopes};
use kiln_runtime::scheduling::{Priority, QueueShare};

/// A century in seconds. Longer periods do not fit the rate limiter, which counts nanoseconds in 64 bits.
const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;

/// A caller whose key or token is valid.
#[derive(Debug)]
pub struct Principal {
    /// Name of the caller in logs.
    pub id: String,
    /// Name of the caller in metrics. The set of names is bounded: all tokens share one.
    pub metric_label: String,
    /// Permissions.
    pub scopes: Scopes,
    /// Time from which on the caller has no permission.
    pub expires: Option<SystemTime>,
    /// Limit on the request rate.
    pub rate_limiter: Option<Arc<RequestRateLimiter>>,
    /// Limit on the caller's images in the queue.
    pub queue_share: Option<QueueShare>,
    /// Highest priority of the caller's images. If it is absent, each request may use any priority.
    pub priority: Option<Priority>,
}

/// Limits the request rate of a caller and allows bursts, with the generic cell rate algorithm.
#[derive(Debug)]
pub struct RequestRateLimiter {
    limit: RateLimit,
    limiter: DefaultDirectRateLimiter,
}

/// A limit on the request rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    /// Requests per second; above 0, and may be below 1.
    pub per_second: f64,
    /// Requests that may come at once; 1 or more.
    pub burst: NonZeroU32,
}

impl Principal {
    /// Returns the principal of the server's own API key, which has every scope and no limit.
    pub(super) fn operator() -> Self {
        Self {
            id: "default".to_string(),
            metric_label: "default".to_string(),
            scopes: Scopes::all(),
            expires: None,
            rate_limiter: None,
            queue_share: None,
            priority: None,
        }
    }

    /// Returns whether the principal has the permission `scope`.
    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Returns whether the expiry time has passed.
    pub(super) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= SystemTime::now())
    }

    /// Counts one request against the rate limit.
    ///
    /// # Errors
    ///
    /// If the limit is exceeded, returns the time until the next request is allowed.
    pub fn check_rate(&self) -> Result<(), Duration> {
        self.rate_limiter.as_ref().map_or(Ok(()), |limiter| limiter.check())
    }
}

impl RequestRateLimiter {
    /// Creates a limiter with a full burst.
    ///
    /// # Panics
    ///
    /// Panics if the rate is not above 0, or is far below the minimum of [`RateLimit::from_settings`].
    pub(super) fn new(limit: RateLimit) -> Self {
        let quota = Quota::with_period(Duration::from_secs_f64(1.0 / limit.per_second)).expect("a rate above 0");
        Self { limit, limiter: governor::RateLimiter::direct(quota.allow_burst(limit.burst)) }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    fn check(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

impl RateLimit {
    /// Allowed requests per second.
    pub const ALLOWED_RATES: RangeInclusive<f64> = 0.001..=1e6;

    /// Returns the time after which a caller that sends nothing has its full burst again.
    pub(super) fn refill_time(self) -> Duration {
        Duration::from_secs_f64(f64::from(self.burst.get()) / self.per_second)
    }

    /// Creates a limit from the settings `requests-per-second` and `burst`. The default of `burst` is the number of requests
    /// in one second.
    ///
    /// # Errors
    ///
    /// Returns a message if the rate is out of range, if `burst` is set alone, or if a burst takes more than a century to
    /// refill.
    pub fn from_settings(per_second: Option<f64>, burst: Option<NonZeroU32>) -> Result<Option<Self>, String> {
        match (per_second, burst) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err("burst requires requests-per-second".to_string()),
            (Some(per_second), _) if !Self::ALLOWED_RATES.contains(&per_second) => {
                Err(format!("requests-per-second is {per_second}; it must be from 0.001 to 1000000"))
            }
            (Some(per_second), Some(burst)) if f64::from(burst.get()) / per_second > CENTURY => Err(format!(
                "burst is {burst}, which at {per_second} requests per second takes more than a century to refill"
            )),
            (Some(per_second), burst) => {
                let one_second = NonZeroU32::new(per_second.ceil() as u32).unwrap_or(NonZeroU32::MIN);
                Ok(Some(Self { per_second, burst: burst.unwrap_or(one_second) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limit_allows_a_burst_and_then_returns_the_wait() {
        let burst = NonZeroU32::new(3).unwrap();
        let rate_limiter = Some(Arc::new(RequestRateLimiter::new(RateLimit { per_second: 0.01, burst })));
        let principal = Principal { rate_limiter, ..Principal::operator() };
        for _ in 0..3 {
            principal.check_rate().unwrap();
        }
        let wait = principal.check_rate().unwrap_err();
        assert!((90..=100).contains(&wait.as_secs()), "{wait:?}");
        assert!(Principal::operator().check_rate().is_ok());
    }

    #[test]
    fn principal_expires_at_its_expiry_time() {
        let has_expired = |expires| Principal { expires: Some(expires), ..Principal::operator() }.has_expired();
        assert!(has_expired(SystemTime::now()));
        assert!(!has_expired(SystemTime::now() + Duration::from_secs(60)));
        assert!(!Principal::operator().has_expired());
    }
}

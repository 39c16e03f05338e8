//! Limits failed authentications per client address.
//!
//! After too many failures, an address is blocked for a while, even with a valid key. An address that recently sent a valid key
//! is trusted and never blocked: behind a proxy all clients may share one address, and a client with an outdated key must not
//! lock out the others. Invalid keys from a trusted address are still refused.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How long an address is trusted after a valid key.
const TRUST_DURATION: Duration = Duration::from_secs(600);
/// How old a recorded success must be before the next one updates it. Most requests therefore only take the read lock.
const TRUST_UPDATE_INTERVAL: Duration = Duration::from_secs(60);

/// Counts failed authentications and blocks addresses with too many.
#[derive(Debug)]
pub(super) struct FailureLimiter {
    failures: DefaultKeyedRateLimiter<IpAddr>,
    /// End of the block of each blocked network.
    blocked: Mutex<HashMap<IpAddr, Instant>>,
    /// Time of the last recorded valid key of each trusted network.
    trusted: RwLock<HashMap<IpAddr, Instant>>,
}

impl FailureLimiter {
    /// Creates a limiter that allows `per_minute` failures, at once or spread over a minute.
    pub(super) fn new(per_minute: NonZeroU32) -> Self {
        let failures = RateLimiter::keyed(Quota::per_minute(per_minute));
        Self { failures, blocked: Mutex::default(), trusted: RwLock::default() }
    }

    /// Checks that an address is not blocked.
    ///
    /// # Errors
    ///
    /// If the address is blocked, returns the rest of the block.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let network = network(address);
        let until = self.blocked().get(&network).copied();
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() && !self.is_trusted(network) => Err(left),
            _ => Ok(()),
        }
    }

    /// Records a failed authentication.
    ///
    /// # Errors
    ///
    /// If the address has exceeded the limit, blocks it and returns the duration of the block.
    pub(super) fn record_failure(&self, address: IpAddr) -> Result<(), Duration> {
        let network = network(address);
        self.failures.check_key(&network).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            self.blocked().insert(network, Instant::now() + wait);
            wait
        })
    }

    /// Records a successful authentication, which makes the address trusted.
    pub(super) fn record_success(&self, address: IpAddr) {
        let (network, now) = (network(address), Instant::now());
        let last = self.trusted.read().unwrap_or_else(PoisonError::into_inner).get(&network).copied();
        if last.is_none_or(|last| now.duration_since(last) > TRUST_UPDATE_INTERVAL) {
            self.trusted.write().unwrap_or_else(PoisonError::into_inner).insert(network, now);
        }
    }

    /// Removes expired records. Regular calls bound the number of records by the addresses of one interval.
    pub(super) fn remove_expired(&self) {
        let now = Instant::now();
        self.failures.retain_recent();
        self.blocked().retain(|_, until| *until > now);
        self.trusted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, last| now.duration_since(*last) < TRUST_DURATION);
    }

    fn is_trusted(&self, network: IpAddr) -> bool {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        trusted.get(&network).is_some_and(|last| last.elapsed() < TRUST_DURATION)
    }

    fn blocked(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the network that one client controls: the address itself in IPv4, the /64 prefix in IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn two_per_minute() -> FailureLimiter {
        FailureLimiter::new(NonZeroU32::new(2).unwrap())
    }

    #[test]
    fn address_is_blocked_after_too_many_failures_and_others_are_not() {
        let limiter = two_per_minute();
        let (attacker, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert!(limiter.record_failure(attacker).is_ok() && limiter.record_failure(attacker).is_ok());
        assert!(limiter.check(attacker).is_ok());
        let wait = limiter.record_failure(attacker).unwrap_err();
        assert!((1..=30).contains(&wait.as_secs()), "{wait:?}");
        assert!(limiter.check(attacker).is_err());
        assert!(limiter.check(other).is_ok());
        limiter.remove_expired();
        assert!(limiter.check(attacker).is_err(), "the block was removed too early");
    }

    #[test]
    fn trusted_address_is_not_blocked_by_invalid_keys() {
        let limiter = two_per_minute();
        let proxy = ip("192.0.2.1");
        limiter.record_success(proxy);
        for _ in 0..2 {
            limiter.record_failure(proxy).unwrap();
        }
        assert!(limiter.record_failure(proxy).is_err(), "invalid keys are no longer limited");
        assert!(limiter.check(proxy).is_ok());
    }

    #[test]
    fn ipv6_prefix_and_mapped_ipv4_address_each_count_as_one_network() {
        let limiter = two_per_minute();
        for address in ["2001:db8::1", "2001:db8::2"] {
            limiter.record_failure(ip(address)).unwrap();
        }
        assert!(limiter.record_failure(ip("2001:db8::3")).is_err());
        assert!(limiter.record_failure(ip("2001:db8:0:1::3")).is_ok());
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}

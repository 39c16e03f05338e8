//! Wrong keys and tokens, counted by the address that they come from.
//!
//! An address that sent too many is not heard any more for a while, whatever it sends. One that a right key came from of
//! late is: behind a proxy all callers may share an address, and one with an old key must not lock out the others. Its
//! wrong keys are still answered with the refusal.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How long an address counts as one that right keys come from.
const TRUST: Duration = Duration::from_secs(600);
/// A right key is written down anew only after so long; most requests only read.
const TRUST_AGAIN: Duration = Duration::from_secs(60);

/// What is known of addresses.
#[derive(Debug)]
pub(super) struct Attempts {
    failures: DefaultKeyedRateLimiter<IpAddr>,
    /// Until when addresses are not heard.
    refused: Mutex<HashMap<IpAddr, Instant>>,
    /// When a right key last came from them.
    trusted: RwLock<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// So many failures a minute are borne, at once or spread.
    pub(super) fn new(a_minute: NonZeroU32) -> Self {
        let failures = RateLimiter::keyed(Quota::per_minute(a_minute));
        Self { failures, refused: Mutex::default(), trusted: RwLock::default() }
    }

    /// Whether the address is heard.
    ///
    /// # Errors
    ///
    /// It is not, for so long.
    pub(super) fn may_try(&self, from: IpAddr) -> Result<(), Duration> {
        let until = self.refused().get(&network(from)).copied();
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() && !self.is_trusted(network(from)) => Err(left),
            _ => Ok(()),
        }
    }

    /// A wrong key came from there.
    ///
    /// # Errors
    ///
    /// It was one too many; the time tells when the next is borne.
    pub(super) fn failed(&self, from: IpAddr) -> Result<(), Duration> {
        let from = network(from);
        self.failures.check_key(&from).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            self.refused().insert(from, Instant::now() + wait);
            wait
        })
    }

    /// A right key came from there.
    pub(super) fn succeeded(&self, from: IpAddr) {
        let (from, now) = (network(from), Instant::now());
        let last = self.trusted.read().unwrap_or_else(PoisonError::into_inner).get(&from).copied();
        if last.is_none_or(|last| now.duration_since(last) > TRUST_AGAIN) {
            self.trusted.write().unwrap_or_else(PoisonError::into_inner).insert(from, now);
        }
    }

    /// Forgets addresses that are as good as new; to be called now and then, so that the number of them is bounded by what
    /// comes in such a time.
    pub(super) fn forget(&self) {
        let now = Instant::now();
        self.failures.retain_recent();
        self.refused().retain(|_, until| *until > now);
        self.trusted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, last| now.duration_since(*last) < TRUST);
    }

    fn is_trusted(&self, from: IpAddr) -> bool {
        let trusted = self.trusted.read().unwrap_or_else(PoisonError::into_inner);
        trusted.get(&from).is_some_and(|last| last.elapsed() < TRUST)
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one party has of addresses: one of version 4, 2^64 of version 6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    fn two_a_minute() -> Attempts {
        Attempts::new(NonZeroU32::new(2).unwrap())
    }

    #[test]
    fn who_guesses_is_not_heard_for_a_while_and_others_are() {
        let attempts = two_a_minute();
        let (guesser, other) = (at("192.0.2.1"), at("192.0.2.2"));
        assert!(attempts.failed(guesser).is_ok() && attempts.failed(guesser).is_ok());
        assert!(attempts.may_try(guesser).is_ok());
        let wait = attempts.failed(guesser).unwrap_err();
        assert!((1..=30).contains(&wait.as_secs()), "{wait:?}");
        assert!(attempts.may_try(guesser).is_err());
        assert!(attempts.may_try(other).is_ok());
        attempts.forget();
        assert!(attempts.may_try(guesser).is_err(), "forgotten too early");
    }

    #[test]
    fn where_right_keys_come_from_wrong_ones_lock_nobody_out() {
        let attempts = two_a_minute();
        let proxy = at("192.0.2.1");
        attempts.succeeded(proxy);
        for _ in 0..2 {
            attempts.failed(proxy).unwrap();
        }
        assert!(attempts.failed(proxy).is_err(), "wrong keys are still limited");
        assert!(attempts.may_try(proxy).is_ok());
    }

    #[test]
    fn a_network_of_version_6_is_one_party_and_version_4_is_the_same_in_both_forms() {
        let attempts = two_a_minute();
        for address in ["2001:db8::1", "2001:db8::2"] {
            attempts.failed(at(address)).unwrap();
        }
        assert!(attempts.failed(at("2001:db8::3")).is_err());
        assert!(attempts.failed(at("2001:db8:0:1::3")).is_ok());
        assert_eq!(network(at("::ffff:192.0.2.1")), at("192.0.2.1"));
    }
}

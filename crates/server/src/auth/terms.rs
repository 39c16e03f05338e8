//! What a key is for, and what of that cannot be, wherever it was written.

use std::num::NonZeroU32;
use std::time::SystemTime;

use super::account::RateLimit;
use super::scope::Scopes;
use kiln_runtime::scheduling::Priority;

/// In seconds. Limiters count in nanoseconds, of which 64 bits hold a few of these.
const CENTURY: f64 = 100.0 * 365.25 * 86_400.0;

/// What a key is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Its name in logs and metrics.
    pub id: String,
    /// What it opens.
    pub scopes: Scopes,
    /// From when on it opens nothing.
    pub expires: Option<SystemTime>,
    /// How often it may be used.
    pub rate: Option<RateLimit>,
    /// Which part of the queue its pictures may take, above 0 and at most 1.
    pub share: Option<f64>,
    /// Whose pictures go first.
    pub priority: Priority,
}

/// Checks a key's name: it goes into logs and metrics.
///
/// # Errors
///
/// It is empty, long, one of the server's own, or has characters that are no letter, digit, dot, dash or underscore.
pub fn check_id(id: &str) -> Result<(), String> {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match id {
        "" => Err("id is empty".to_string()),
        "default" | "token" => Err(format!("id '{id}' is taken by the server itself")),
        _ if id.len() > 64 || !id.bytes().all(fit) => {
            Err("id must have at most 64 letters, digits, dots, dashes and underscores".to_string())
        }
        _ => Ok(()),
    }
}

/// Checks a part of the queue.
///
/// # Errors
///
/// It is not above 0 and at most 1.
pub fn check_share(share: f64) -> Result<(), String> {
    if share > 0.0 && share <= 1.0 {
        return Ok(());
    }
    Err(format!("queue-share is {share}; it has to be above 0 and at most 1"))
}

/// A rate from its two numbers; without a burst, a second's worth of requests may come at once.
///
/// # Errors
///
/// The rate is out of range, there is a burst alone, or one that takes more than a century to come back.
pub fn rate(per_second: Option<f64>, burst: Option<NonZeroU32>) -> Result<Option<RateLimit>, String> {
    match (per_second, burst) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("burst needs requests-per-second beside it".to_string()),
        (Some(per_second), _) if !(0.001..=1e6).contains(&per_second) => {
            Err(format!("requests-per-second is {per_second}; it has to be from 0.001 to 1000000"))
        }
        (Some(per_second), Some(burst)) if f64::from(burst.get()) / per_second > CENTURY => Err(format!(
            "burst is {burst}, which at {per_second} requests a second takes more than a century to come back"
        )),
        (Some(per_second), burst) => {
            let second = NonZeroU32::new(per_second.ceil() as u32).unwrap_or(NonZeroU32::MIN);
            Ok(Some(RateLimit { per_second, burst: burst.unwrap_or(second) }))
        }
    }
}

/// A moment from RFC 3339 in UTC; a bare date is its first moment.
///
/// # Errors
///
/// It is neither.
pub fn instant(text: &str) -> Result<SystemTime, String> {
    let moment = if text.len() == "2027-01-31".len() { format!("{text}T00:00:00Z") } else { text.to_string() };
    humantime::parse_rfc3339(&moment)
        .map_err(|_| format!("expires is '{text}'; it has to be like 2027-01-31 or 2027-01-31T12:00:00Z"))
}

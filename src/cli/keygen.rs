//! What `kiln keygen` was told of the key that it is to make.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use clap::ArgMatches;

use crate::config::ConfigError;
use crate::keys::{self, Priority, Scope, Scopes, Terms};

/// The terms of a key for a file, if it is for one.
///
/// # Errors
///
/// The first value that cannot be, named by its flag.
pub(super) fn terms(matches: &ArgMatches) -> Result<Option<Terms>, ConfigError> {
    let Some(id) = matches.get_one::<String>("id") else { return Ok(None) };
    let of = |flag: &'static str| move |reason: String| ConfigError(format!("--{flag}: {reason}"));
    keys::check_id(id).map_err(of("id"))?;
    let scopes: Scopes = matches.get_many::<Scope>("scope").into_iter().flatten().copied().collect();
    let expires = matches.get_one::<String>("expires").map(|text| end(text)).transpose().map_err(of("expires"))?;
    let number = |name: &str| matches.get_one::<f64>(name).copied();
    let rate = keys::rate(number("requests-per-second"), matches.get_one::<NonZeroU32>("burst").copied());
    let share = number("queue-share");
    share.map_or(Ok(()), keys::check_share).map_err(of("queue-share"))?;
    Ok(Some(Terms {
        id: id.clone(),
        scopes: if scopes.is_empty() { [Scope::Predict].into_iter().collect() } else { scopes },
        expires,
        rate: rate.map_err(of("requests-per-second"))?,
        share,
        priority: matches.get_one::<Priority>("priority").copied().unwrap_or_default(),
    }))
}

/// Longer than any key is used.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A moment, or how long until then.
fn end(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(left) if left <= CENTURY => Ok(SystemTime::now() + left),
        Ok(_) => Err("expires is more than a century away; leave it out for a key without an end".to_string()),
        Err(_) => keys::instant(text),
    }
}

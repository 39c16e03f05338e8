//! `kiln keygen`: its arguments, and what was typed of them.

use std::num::NonZeroU32;
use std::time::SystemTime;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::config::{CENTURY, ConfigError};
use kiln_server::auth::{self as keys, Priority, Scope, Scopes, KeyPolicy};

/// The command.
pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).requires("id")
    };
    let id = Arg::new("id")
        .long("id")
        .value_name("NAME")
        .help("Print an entry for the file of --keys, for a key of that name");
    let scope = option("scope", "SCOPE", "What it opens: predict, feedback, metrics, admin [default: predict]")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .value_parser(value_parser!(Scope));
    let expires =
        option("expires", "WHEN", "From when on it opens nothing: 2027-01-31, 2027-01-31T12:00:00Z, or in 90d");
    let per_second = option("requests-per-second", "N", "How often it may be used").value_parser(value_parser!(f64));
    let burst = option("burst", "N", "How many requests may come at once [default: a second's worth]")
        .requires("requests-per-second")
        .value_parser(value_parser!(NonZeroU32));
    let share = option("queue-share", "PART", "Which part of the queue its pictures may take, such as 0.5")
        .value_parser(value_parser!(f64));
    let priority = option("priority", "PRIORITY", "high, normal or low: whose pictures go first [default: normal]")
        .value_parser(value_parser!(Priority));
    Command::new("keygen")
        .about("Print a new API key, or an entry for a key file")
        .after_help(
            "With --id, the entry goes to standard output and the key itself, which is stored nowhere, to standard error: \
             kiln keygen --id mobile-app --scope predict >> keys.toml",
        )
        .args([id, scope, expires, per_second, burst, share, priority])
}

/// The terms of a key for a file, if it is for one.
///
/// # Errors
///
/// The first value that cannot be, named by its flag.
pub(super) fn terms(matches: &ArgMatches) -> Result<Option<KeyPolicy>, ConfigError> {
    let Some(id) = matches.get_one::<String>("id") else { return Ok(None) };
    let of = |flag: &'static str| move |reason: String| ConfigError(format!("--{flag}: {reason}"));
    keys::check_key_id(id).map_err(of("id"))?;
    let scopes: Scopes = matches.get_many::<Scope>("scope").into_iter().flatten().copied().collect();
    let expires = matches.get_one::<String>("expires").map(|text| end(text)).transpose().map_err(of("expires"))?;
    let number = |name: &str| matches.get_one::<f64>(name).copied();
    let rate = keys::RateLimit::from_settings(number("requests-per-second"), matches.get_one::<NonZeroU32>("burst").copied());
    let share = number("queue-share");
    share.map_or(Ok(()), keys::check_queue_share).map_err(of("queue-share"))?;
    Ok(Some(KeyPolicy {
        id: id.clone(),
        scopes: if scopes.is_empty() { [Scope::Predict].into_iter().collect() } else { scopes },
        expires,
        rate_limit: rate.map_err(of("requests-per-second"))?,
        queue_share: share,
        priority: matches.get_one::<Priority>("priority").copied().unwrap_or_default(),
    }))
}

/// A moment, or how long until then.
fn end(text: &str) -> Result<SystemTime, String> {
    match humantime::parse_duration(text) {
        Ok(left) if left <= CENTURY => Ok(SystemTime::now() + left),
        Ok(_) => Err("expires is more than a century away; leave it out for a key without an end".to_string()),
        Err(_) => keys::parse_expiry(text),
    }
}

//! What `kiln healthcheck` was told.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::settings::with_settings;
use crate::config::{Checkup, ConfigError, Sources};

/// The command.
pub(super) fn command() -> Command {
    let live = Arg::new("live")
        .long("live")
        .help("Be content with a server that lives, also while it starts or drains")
        .action(ArgAction::SetTrue);
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("TIME")
        .help("How long the answer may take")
        .default_value("3s")
        .value_parser(|text: &str| humantime::parse_duration(text).map_err(|error| error.to_string()));
    let command = Command::new("healthcheck")
        .about("Ask the server of this machine whether it is ready: status 0 if it is")
        .after_help(
            "It asks where 'kiln serve' with the same settings listens.\n\nExample: kiln healthcheck --timeout 1s",
        )
        .args([live, timeout]);
    with_settings(command, |setting| matches!(setting.key, "listen" | "tls-cert"))
}

/// Whom to ask, by the settings that a server has.
pub(super) fn checkup(matches: &ArgMatches, sources: &Sources) -> Result<Checkup, ConfigError> {
    let timeout = matches.get_one("timeout").copied().unwrap_or(Duration::from_secs(3));
    Checkup::of(sources, matches.get_flag("live"), timeout)
}

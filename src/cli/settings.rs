//! Settings as flags: those that a command has, and what was typed of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::Exit;
use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, Sources};

/// The command with the flags of the settings that are `wanted`, and how else they can be told.
pub(super) fn with_settings(command: Command, wanted: impl Fn(&Setting) -> bool) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A TOML file with settings, keys named as the flags [env: KILN_CONFIG]")
        .value_parser(value_parser!(PathBuf));
    let wanted: Vec<&Setting> = SETTINGS.iter().filter(|setting| wanted(setting)).collect();
    let secrets: Vec<String> = wanted
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| format!("{}: {}. No flag: others could read it.", setting.variable(), setting.help))
        .collect();
    let flags = wanted.iter().filter(|setting| !setting.secret).map(|setting| flag(setting));
    let command = command.arg(config).args(flags.collect::<Vec<_>>());
    let precedence = "Every setting is a variable (KILN_...) and a key of the --config file, and all but secrets are flags. \
                      A flag beats a variable, which beats the file.";
    let after = secrets.into_iter().chain([precedence.to_string()]).collect::<Vec<_>>().join("\n\n");
    let example = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    command.after_help(format!("{example}{after}"))
}

fn flag(setting: &Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let flag = Arg::new(setting.key).long(setting.key).value_name(setting.value);
    // The name alone says yes.
    let flag = if setting.value == "BOOL" {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag
    };
    flag.help(format!("{} [env: {}]{default}", setting.help, setting.variable())).help_heading(setting.heading)
}

/// Settings and where they come from.
///
/// # Errors
///
/// The file of `--config` cannot be read, or has keys that are none.
pub(super) fn gather(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Sources, Exit> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS {
        if let Ok(Some(text)) = matches.try_get_one::<String>(setting.key) {
            flags.insert(setting.key, text.clone());
        }
    }
    let variable = || env("KILN_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = matches.get_one::<PathBuf>("config").cloned().or_else(variable);
    Sources::gather(&flags, env, file.as_deref()).map_err(Exit::Config)
}

/// Settings of a command that serves nobody.
///
/// # Errors
///
/// A value is wrong.
pub(super) fn own(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Box<Config>, Exit> {
    Ok(Box::new(Config::without_serving(&gather(matches, env)?).map_err(Exit::Config)?))
}

/// The same, and no lines of a log come between who looks and what he looks at, unless he wants them.
///
/// # Errors
///
/// The same.
pub(super) fn quiet(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Box<Config>, Exit> {
    let sources = gather(matches, env)?.with_default("log-level", "warn");
    Ok(Box::new(Config::without_serving(&sources).map_err(Exit::Config)?))
}

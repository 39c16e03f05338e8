//! Settings as command-line flags.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command, value_parser};

use super::CliError;
use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, ConfigError, Sources};

/// Ends the help of every command that has settings.
const PRECEDENCE: &str = "Every setting has an environment variable (KILN_...) and a key in the --config file; every setting except a \
                          secret has a flag. A flag takes precedence over a variable, and a variable over the file.";

/// Id of the arguments of `kiln serve`.
const MODEL_PATHS: &str = "model-paths";

/// Returns the arguments of `kiln serve`: the models to serve.
pub(super) fn model_paths() -> Arg {
    Arg::new(MODEL_PATHS)
        .value_name("MODEL")
        .help("ONNX files, or folders that hold one, to serve instead of the built-in models.")
        .num_args(0..)
        .conflicts_with("model-file")
}

/// Adds the flags of the selected settings and `--config` to a command.
pub(super) fn with_settings(command: Command, selected: impl Fn(&Setting) -> bool) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("TOML file with settings. Its keys are the names of the flags. [env: KILN_CONFIG]")
        .value_parser(value_parser!(PathBuf));
    let (secrets, flags): (Vec<&Setting>, Vec<&Setting>) =
        SETTINGS.iter().filter(|setting| selected(setting)).partition(|setting| setting.secret);
    let command = command.arg(config).args(flags.into_iter().map(flag));
    let example = command.get_after_help().map(ToString::to_string);
    let secrets = secrets.into_iter().map(|setting| {
        format!("{}: {} It has no flag, since other users can read command lines.", setting.variable(), setting.help)
    });
    let after: Vec<String> = example.into_iter().chain(secrets).chain([PRECEDENCE.to_string()]).collect();
    command.after_help(after.join("\n\n"))
}

fn flag(setting: &Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let flag = Arg::new(setting.key).long(setting.key).value_name(setting.value);
    // The flag alone means true.
    let flag = if setting.value == "BOOL" {
        let flag = flag.num_args(0..=1).require_equals(true).default_missing_value("true");
        suggesting(flag, &["true", "false"])
    } else {
        suggesting(flag, setting.values)
    };
    flag.help(format!("{} [env: {}]{default}", setting.help, setting.variable())).help_heading(setting.heading)
}

/// Adds values for shell completion to a flag, unless there are none.
fn suggesting(flag: Arg, values: &'static [&'static str]) -> Arg {
    // The help of a setting names its values already.
    if values.is_empty() { flag } else { flag.value_parser(Suggestions(values)).hide_possible_values(true) }
}

/// Accepts every text, and suggests some for shell completion. The parser of the setting checks the text, as it does if
/// the text comes from a variable or from a file.
#[derive(Clone, Copy)]
struct Suggestions(&'static [&'static str]);

impl TypedValueParser for Suggestions {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, text: &OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, text)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|value| PossibleValue::new(*value))))
    }
}

/// Collects the settings from flags, variables and the configuration file.
///
/// # Errors
///
/// Returns an error if the configuration file cannot be read or contains an unknown key.
pub(super) fn sources(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Sources, CliError> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS {
        // A command may lack the flag of a setting.
        if let Ok(Some(text)) = matches.try_get_one::<String>(setting.key) {
            flags.insert(setting.key, text.clone());
        }
    }
    // The arguments of 'kiln serve MODEL...' are the setting `model-file`.
    if let Ok(Some(paths)) = matches.try_get_many::<String>(MODEL_PATHS) {
        let paths: Vec<&str> = paths.map(String::as_str).collect();
        if let Some(path) = paths.iter().find(|path| path.contains(',')) {
            return Err(ConfigError(format!(
                "'{path}' has a comma, which separates the paths of --model-file; rename it"
            ))
            .into());
        }
        flags.insert("model-file", paths.join(","));
    }
    let variable = || env("KILN_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let file = matches.get_one::<PathBuf>("config").cloned().or_else(variable);
    Ok(Sources::gather(&flags, env, file.as_deref())?)
}

/// Returns the configuration of a command that does not serve.
///
/// # Errors
///
/// Returns an error if a setting is invalid.
pub(super) fn config(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Box<Config>, CliError> {
    Ok(Box::new(Config::without_serving(&sources(matches, env)?)?))
}

/// As [`config`], with the log level `warn` by default, so that log lines do not interrupt the output.
///
/// # Errors
///
/// Returns an error if a setting is invalid.
pub(super) fn quiet_config(
    matches: &ArgMatches,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Box<Config>, CliError> {
    let sources = sources(matches, env)?.with_default("log-level", "warn");
    Ok(Box::new(Config::without_serving(&sources)?))
}

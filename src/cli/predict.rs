//! `kiln predict`: its arguments, and what was typed of them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::settings::with_settings;
use crate::config::Config;
use crate::config::settings::{BATCHING, LOGS, MODEL, PICTURES, Setting};

/// The command.
pub(super) fn command() -> Command {
    let files = Arg::new("files")
        .value_name("FILE")
        .help("Pictures to classify")
        .required(true)
        .num_args(1..)
        .value_parser(value_parser!(PathBuf));
    let top_k = Arg::new("top-k")
        .long("top-k")
        .value_name("N")
        .help("How many classes to tell of each picture, 1 to 100")
        .default_value("5")
        .value_parser(value_parser!(u8).range(1..=100));
    let json = Arg::new("json").long("json").help("Print one JSON object a line").action(ArgAction::SetTrue);
    let command = Command::new("predict").about("Classify files without a server").args([files, top_k, json]);
    let of_use = |setting: &Setting| matches!(setting.heading, MODEL | BATCHING | PICTURES | LOGS);
    with_settings(command, of_use)
}

/// What is to be done.
pub(super) fn told(matches: &ArgMatches, config: Box<Config>) -> super::Command {
    super::Command::Predict {
        files: matches.get_many("files").map(|files| files.cloned().collect()).unwrap_or_default(),
        top_k: usize::from(matches.get_one::<u8>("top-k").copied().unwrap_or(5)),
        json: matches.get_flag("json"),
        config,
    }
}

//! `kiln feedback`: its words and their arguments, and what was typed of them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::Exit;
use super::settings::{gather, with_settings};
use crate::config::ConfigError;
use crate::config::settings::Setting;

/// The command with its words.
pub(super) fn command() -> Command {
    let path = |value: &'static str, help: &'static str| {
        Arg::new("out").long("out").value_name(value).help(help).value_parser(value_parser!(PathBuf))
    };
    let place = |setting: &Setting| setting.key == "data-dir";
    let model = Arg::new("model").long("model").value_name("NAME").help("Only feedback on this model [default: all]");
    let force = Arg::new("force")
        .long("force")
        .help("Write to a folder that is not empty; an export that is there is replaced")
        .action(ArgAction::SetTrue);
    let export = Command::new("export")
        .about(
            "Write feedback to train with: JSON lines, and the pictures that were kept in a folder for each true class",
        )
        .after_help("Example: kiln feedback export --data-dir data --out dataset")
        .args([path("FOLDER", "Where feedback.jsonl and images/ go").required(true), model, force]);
    let report = Command::new("report")
        .about("Write a page with plots: accuracy over time, reliability, confusions, confidence")
        .after_help("Example: kiln feedback report --data-dir data --out report.html")
        .arg(path("FILE", "The page").default_value("report.html"));
    Command::new("feedback")
        .about("See what people said of predictions, and train with it; the server may run meanwhile")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(export, place))
        .subcommand(with_settings(report, place))
}

/// What is to be done.
///
/// # Errors
///
/// Nobody has said where predictions were recorded.
pub(super) fn told(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<super::Command, Exit> {
    let (word, inner) = matches.subcommand().expect("clap asks for a word after 'feedback'");
    let sources = gather(inner, env)?;
    let data = sources.get("data-dir").map(|(text, _)| PathBuf::from(text));
    let data = data.filter(|data| !data.as_os_str().is_empty()).ok_or_else(|| {
        Exit::Config(ConfigError(
            "--data-dir is needed: the folder in which a server has recorded predictions".to_string(),
        ))
    })?;
    let out = inner.get_one::<PathBuf>("out").cloned().unwrap_or_default();
    if word == "report" {
        return Ok(super::Command::FeedbackReport { data, out });
    }
    let (model, force) = (inner.get_one::<String>("model").cloned(), inner.get_flag("force"));
    Ok(super::Command::FeedbackExport { data, out, model, force })
}

//! What `kiln feedback` was told: where predictions were recorded, and what is to be made of the feedback on them.

use std::path::PathBuf;

use clap::ArgMatches;

use super::{Command, Exit};
use crate::config::{ConfigError, Sources};

/// The command.
///
/// # Errors
///
/// Nobody has said where predictions were recorded.
pub(super) fn command(
    matches: &ArgMatches,
    sources: impl Fn(&ArgMatches) -> Result<Sources, Exit>,
) -> Result<Command, Exit> {
    let (word, inner) = matches.subcommand().expect("clap asks for a word after 'feedback'");
    let sources = sources(inner)?;
    let data = sources.get("data-dir").map(|(text, _)| PathBuf::from(text));
    let data = data.filter(|data| !data.as_os_str().is_empty()).ok_or_else(|| {
        Exit::Config(ConfigError(
            "--data-dir is needed: the folder in which a server has recorded predictions".to_string(),
        ))
    })?;
    let out = inner.get_one::<PathBuf>("out").cloned().unwrap_or_default();
    if word == "report" {
        return Ok(Command::FeedbackReport { data, out });
    }
    let (model, force) = (inner.get_one::<String>("model").cloned(), inner.get_flag("force"));
    Ok(Command::FeedbackExport { data, out, model, force })
}

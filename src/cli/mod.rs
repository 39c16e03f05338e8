//! The command line: what was typed becomes a [`Command`]. Meaning is given to it in `config` and `app`.

mod arguments;
mod bench;
mod feedback;
mod finetune;
mod healthcheck;
mod import;
mod keygen;
mod models;
mod predict;
mod settings;
mod shell;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::bench::Plan;
use crate::config::{self, Checkup, Config, ConfigError};
use kiln_finetune::FinetuneOptions;
use crate::import::Order as ImportOrder;
use kiln_server::auth::KeyPolicy;
use crate::store::Order;

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// `kiln serve`, and plain `kiln`.
    Serve(Box<Config>),
    /// `kiln predict FILE...`
    Predict {
        /// The pictures.
        files: Vec<PathBuf>,
        /// How many classes to tell of each.
        top_k: usize,
        /// JSON lines instead of text.
        json: bool,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln bench`
    Bench {
        /// What to measure.
        plan: Plan,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln import MODEL.onnx`
    Import(Box<ImportOrder>),
    /// `kiln check`
    Check(Box<Config>),
    /// `kiln healthcheck`
    Healthcheck(Checkup),
    /// `kiln devices`
    Devices,
    /// `kiln keygen`, perhaps for a key file.
    Keygen(Option<KeyPolicy>),
    /// `kiln models WORD`
    Models {
        /// What is to be done.
        order: Order,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln finetune`
    Finetune {
        /// How to train, and on what.
        plan: FinetuneOptions,
        /// Everything else.
        config: Box<Config>,
    },
    /// `kiln feedback export`
    FeedbackExport {
        /// Where predictions were recorded.
        data: PathBuf,
        /// Where it goes.
        out: PathBuf,
        /// Which model it is about; all if absent.
        model: Option<String>,
        /// Also where something is already.
        force: bool,
    },
    /// `kiln feedback report`
    FeedbackReport {
        /// Where predictions were recorded.
        data: PathBuf,
        /// The page.
        out: PathBuf,
    },
    /// `kiln config check`, with its text.
    ConfigCheck(String),
    /// `kiln completions` and `kiln man`, ready to be printed or written.
    Print(Vec<Page>),
}

/// A text that was asked for.
#[derive(Debug)]
pub struct Page {
    /// The file that it is for, if it is not to be printed.
    pub file: Option<PathBuf>,
    /// The text.
    pub text: String,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Exit {
    /// Help or version was asked for, or the words are wrong: clap prints it and knows the status.
    Clap(clap::Error),
    /// A value is wrong.
    Config(ConfigError),
}

/// Reads the arguments (without the program's name first) and the environment through `env`.
///
/// # Errors
///
/// See [`Exit`].
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Command, Exit> {
    let matches = arguments::command().try_get_matches_from(arguments).map_err(Exit::Clap)?;
    let own = |inner| settings::own(inner, env);
    let quiet = |inner| settings::quiet(inner, env);
    let all = |inner| settings::gather(inner, env);
    Ok(match matches.subcommand() {
        Some(("devices", _)) => Command::Devices,
        Some(("healthcheck", inner)) => {
            Command::Healthcheck(healthcheck::checkup(inner, &all(inner)?).map_err(Exit::Config)?)
        }
        Some(("import", inner)) => Command::Import(Box::new(import::order(inner))),
        Some(("check", inner)) => Command::Check(quiet(inner)?),
        Some(("keygen", inner)) => Command::Keygen(keygen::terms(inner).map_err(Exit::Config)?),
        Some(("models", inner)) => {
            let (word, inner) = inner.subcommand().expect("clap asks for a word after 'models'");
            Command::Models { order: models::order(word, inner), config: own(inner)? }
        }
        Some(("finetune", inner)) => Command::Finetune { plan: finetune::plan(inner), config: quiet(inner)? },
        Some(("config", inner)) => {
            let (_, check) = inner.subcommand().expect("clap asks for a word after 'config'");
            let sources = all(check)?;
            Config::from_sources(&sources).map_err(Exit::Config)?;
            Command::ConfigCheck(config::report(&sources))
        }
        Some(("predict", inner)) => predict::told(inner, own(inner)?),
        Some(("bench", inner)) => Command::Bench { plan: bench::plan(inner), config: quiet(inner)? },
        Some(("feedback", inner)) => feedback::told(inner, env)?,
        Some(("completions", inner)) => Command::Print(vec![shell::completion(inner, arguments::command())]),
        Some(("man", inner)) => Command::Print(shell::manual(inner, arguments::command())),
        Some((_, inner)) => serve(inner, env)?,
        None => serve(&matches, env)?,
    })
}

fn serve(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Command, Exit> {
    let config = Config::from_sources(&settings::gather(matches, env)?).map_err(Exit::Config)?;
    Ok(Command::Serve(Box::new(config)))
}

#[cfg(test)]
mod tests;

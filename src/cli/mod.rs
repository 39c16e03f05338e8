//! The command line: parses the arguments into a [`Command`], which `main` runs.

mod feedback;
mod flags;
mod import;
mod inference;
mod models;
mod predict;
#[cfg(test)]
mod tests;
mod tools;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::ArgMatches;
use kiln_finetune::FinetuneOptions;
use kiln_server::auth::KeyPolicy;

use crate::bench::Plan;
use crate::config::{self, Config, ConfigError, Healthcheck, Inspection};
use crate::import::ImportRequest;
use crate::model_store::StoreCommand;
use crate::predict::PredictRequest;
use flags::with_settings;

/// A parsed command with its arguments.
#[derive(Debug)]
pub enum Command {
    /// `kiln serve`, and `kiln` alone.
    Serve(Box<Config>),
    /// `kiln predict PATH...`
    Predict {
        /// What to classify, and where the answers go.
        request: PredictRequest,
        /// The settings.
        config: Box<Config>,
    },
    /// `kiln bench`
    Bench {
        /// What to measure.
        plan: Plan,
        /// The settings.
        config: Box<Config>,
    },
    /// `kiln import MODEL.onnx`
    Import(Box<ImportRequest>),
    /// `kiln check`
    Check(Box<Config>),
    /// `kiln inspect MODEL`
    Inspect {
        /// ONNX file, or folder that holds one.
        path: PathBuf,
        /// The settings.
        config: Box<Config>,
    },
    /// `kiln healthcheck`
    Healthcheck(Healthcheck),
    /// `kiln devices`
    Devices,
    /// `kiln doctor`
    Doctor {
        /// The settings to check.
        inspection: Box<Inspection>,
        /// Prints JSON instead of text.
        json: bool,
    },
    /// `kiln keygen`; with a policy it prints an entry for a key file.
    Keygen(Option<KeyPolicy>),
    /// `kiln models SUBCOMMAND`
    Models {
        /// The subcommand.
        order: StoreCommand,
        /// The settings.
        config: Box<Config>,
    },
    /// `kiln finetune`
    Finetune {
        /// Training data and hyperparameters.
        options: FinetuneOptions,
        /// The settings.
        config: Box<Config>,
    },
    /// `kiln feedback export`
    FeedbackExport {
        /// Folder in which a server recorded predictions.
        data: PathBuf,
        /// Folder of the export.
        out: PathBuf,
        /// Name of the model to export; `None` exports all.
        model: Option<String>,
        /// Writes to a folder that is not empty.
        force: bool,
    },
    /// `kiln feedback report`
    FeedbackReport {
        /// Folder in which a server recorded predictions.
        data: PathBuf,
        /// File of the report.
        out: PathBuf,
    },
    /// `kiln config check`, with its report.
    ConfigCheck(String),
    /// `kiln completions` and `kiln man`, with the texts to print or write.
    Print(Vec<Page>),
}

/// A completion script or a manual page.
#[derive(Debug)]
pub struct Page {
    /// File to write. `None` prints the text.
    pub file: Option<PathBuf>,
    /// The text.
    pub text: String,
}

/// The error of [`parse`].
#[derive(Debug)]
pub enum CliError {
    /// Invalid arguments, or a request for the help or the version. clap prints it and knows the exit status.
    Clap(clap::Error),
    /// An invalid setting.
    Config(ConfigError),
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Parses the arguments, which begin with the name of the program, and reads the environment through `env`.
///
/// # Errors
///
/// See [`CliError`].
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<Command, CliError> {
    let matches = program().try_get_matches_from(arguments).map_err(CliError::Clap)?;
    let config = |inner| flags::config(inner, env);
    let quiet_config = |inner| flags::quiet_config(inner, env);
    let sources = |inner| flags::sources(inner, env);
    Ok(match matches.subcommand() {
        Some(("devices", _)) => Command::Devices,
        Some(("doctor", inner)) => tools::doctor(inner, &sources(inner)?),
        Some(("healthcheck", inner)) => Command::Healthcheck(tools::healthcheck(inner, &sources(inner)?)?),
        Some(("import", inner)) => Command::Import(Box::new(import::import_request(inner))),
        Some(("check", inner)) => Command::Check(quiet_config(inner)?),
        Some(("inspect", inner)) => inference::inspect(inner, quiet_config(inner)?),
        Some(("keygen", inner)) => Command::Keygen(tools::key_policy(inner)?),
        Some(("models", inner)) => {
            let (subcommand, inner) = inner.subcommand().expect("'models' requires a subcommand");
            Command::Models { order: models::store_command(subcommand, inner), config: config(inner)? }
        }
        Some(("finetune", inner)) => {
            Command::Finetune { options: feedback::finetune_options(inner), config: quiet_config(inner)? }
        }
        Some(("config", inner)) => {
            let (_, check) = inner.subcommand().expect("'config' requires a subcommand");
            let sources = sources(check)?;
            Config::from_sources(&sources)?;
            Command::ConfigCheck(config::report(&sources))
        }
        Some(("predict", inner)) => predict::predict(inner, quiet_config(inner)?)?,
        Some(("bench", inner)) => Command::Bench { plan: inference::bench_plan(inner), config: quiet_config(inner)? },
        Some(("feedback", inner)) => feedback::feedback(inner, env)?,
        Some(("completions", inner)) => Command::Print(vec![tools::completions(inner, program())]),
        Some(("man", inner)) => Command::Print(tools::manual_pages(inner, program())),
        Some((_, inner)) => serve(inner, env)?,
        None => serve(&matches, env)?,
    })
}

fn serve(matches: &ArgMatches, env: &impl Fn(&str) -> Option<OsString>) -> Result<Command, CliError> {
    let config = Config::from_sources(&flags::sources(matches, env)?)?;
    Ok(Command::Serve(Box::new(config)))
}

/// Defines `kiln` with its subcommands.
fn program() -> clap::Command {
    let serve = clap::Command::new("serve")
        .about("Serve image classification over HTTP; 'kiln' alone does the same")
        .after_help(
            "Examples:\n  kiln serve resnet50.onnx\n  kiln serve --models repository\n\nWithout MODEL and --models, the built-in models \
             are served. With either of them, a built-in model is served only if --model names it.",
        )
        .arg(flags::model_paths());
    let devices =
        clap::Command::new("devices").about("List the devices of this machine, and the one that 'auto' selects");
    let config_check =
        clap::Command::new("check").about("Print every setting with its value and the source of that value");
    let config = clap::Command::new("config")
        .about("Inspect the settings")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(config_check, |_| true));
    with_settings(clap::Command::new("kiln"), |_| true)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves image classification over HTTP with dynamic batching, on a GPU or the CPU.")
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(serve, |_| true))
        .subcommand(predict::predict_command())
        .subcommand(inference::bench_command())
        .subcommand(import::import_command())
        .subcommand(inference::check_command())
        .subcommand(inference::inspect_command())
        .subcommand(feedback::finetune_command())
        .subcommand(tools::healthcheck_command())
        .subcommand(devices)
        .subcommand(tools::doctor_command())
        .subcommand(tools::keygen_command())
        .subcommand(models::models_command())
        .subcommand(feedback::feedback_command())
        .subcommand(config)
        .subcommand(tools::completions_command())
        .subcommand(tools::man_command())
}

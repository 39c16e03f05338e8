//! Arguments of the commands that use recorded feedback: `kiln feedback` and `kiln finetune`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use kiln_finetune::FinetuneOptions;

use super::CliError;
use super::flags::{sources, with_settings};
use crate::config::ConfigError;
use crate::config::settings::{IMAGES, LOGS, MODEL, Setting};

/// Defines `kiln feedback` with its subcommands.
pub(super) fn feedback_command() -> Command {
    let out = |value: &'static str, help: &'static str| {
        Arg::new("out").long("out").value_name(value).help(help).value_parser(value_parser!(PathBuf))
    };
    let data_dir = |setting: &Setting| setting.key == "data-dir";
    let model = Arg::new("model")
        .long("model")
        .value_name("NAME")
        .help("Exports the feedback on this model only [default: all].");
    let force = Arg::new("force")
        .long("force")
        .help("Writes to a folder that is not empty, and replaces an earlier export in it.")
        .action(ArgAction::SetTrue);
    let export = Command::new("export")
        .about("Write feedback to train with: JSON lines, and the stored images in one folder per true class")
        .after_help("Example: kiln feedback export --data-dir data --out dataset")
        .args([out("FOLDER", "Folder for feedback.jsonl and images/.").required(true), model, force]);
    let report = Command::new("report")
        .about("Write an HTML report with charts: accuracy over time, reliability, confusions, confidence")
        .after_help("Example: kiln feedback report --data-dir data --out report.html")
        .arg(out("FILE", "File of the report.").default_value("report.html"));
    Command::new("feedback")
        .about("Report on feedback, and export it for training; a server may run at the same time")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(export, data_dir))
        .subcommand(with_settings(report, data_dir))
}

/// Returns the parsed `kiln feedback`.
///
/// # Errors
///
/// Returns an error if no source sets `data-dir`.
pub(super) fn feedback(
    matches: &ArgMatches,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<super::Command, CliError> {
    let (subcommand, inner) = matches.subcommand().expect("'feedback' requires a subcommand");
    let sources = sources(inner, env)?;
    let data = sources.get("data-dir").map(|(text, _)| PathBuf::from(text));
    let data = data.filter(|data| !data.as_os_str().is_empty()).ok_or_else(|| {
        ConfigError("no --data-dir; set it to the folder in which a server records predictions".to_string())
    })?;
    let out = inner.get_one::<PathBuf>("out").cloned().unwrap_or_default();
    if subcommand == "report" {
        return Ok(super::Command::FeedbackReport { data, out });
    }
    let (model, force) = (inner.get_one::<String>("model").cloned(), inner.get_flag("force"));
    Ok(super::Command::FeedbackExport { data, out, model, force })
}

/// Defines `kiln finetune`.
pub(super) fn finetune_command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let feedback = flag("from-feedback", "FOLDER", "Folder that 'kiln feedback export' wrote.")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    let epochs = flag("epochs", "N", "Maximum number of passes over all images.")
        .default_value("300")
        .value_parser(value_parser!(u32).range(1..=100_000));
    let learning_rate = flag(
        "learning-rate",
        "FACTOR",
        "Step size, as a multiple of the largest step that is certain to reduce the loss.",
    )
    .default_value("1")
    .value_parser(positive);
    let pull = flag(
        "pull",
        "FACTOR",
        "Strength of the regularisation towards the original weights, which protects all other classes. 0 disables it.",
    )
    .default_value("0.001")
    .value_parser(not_negative);
    let held_out =
        flag("held-out", "FRACTION", "Fraction of the images that are not trained on, but used for evaluation.")
            .default_value("0.2")
            .value_parser(fraction);
    let seed = flag("seed", "N", "Seed of the random choice of held-out images.")
        .default_value("0")
        .value_parser(value_parser!(u64));
    let force = Arg::new("force")
        .long("force")
        .help("Writes the version even if it is no better on the held-out images, or if no image can be held out.")
        .action(ArgAction::SetTrue);
    let command = Command::new("finetune")
        .about("Train the last layer of a model on corrected images, and add the result as a new version")
        .after_help(
            "All layers except the last keep their weights. Kiln adds the version to the folder of --model-store. It serves no request \
             until you run 'kiln models canary' or 'kiln models promote'.\n\n\
             Example: kiln finetune --from-feedback export/ --model-store versions/",
        )
        .args([feedback, epochs, learning_rate, pull, held_out, seed, force]);
    let applies =
        |setting: &Setting| matches!(setting.heading, MODEL | IMAGES | LOGS) || setting.key == "max-batch-size";
    with_settings(command, applies)
}

/// Returns the options of `kiln finetune`.
pub(super) fn finetune_options(matches: &ArgMatches) -> FinetuneOptions {
    let defaults = FinetuneOptions::new(matches.get_one::<PathBuf>("from-feedback").cloned().unwrap_or_default());
    let number = |name: &str, default: f64| matches.get_one::<f64>(name).copied().unwrap_or(default);
    FinetuneOptions {
        epochs: matches.get_one::<u32>("epochs").map_or(defaults.epochs, |epochs| *epochs as usize),
        learning_rate: number("learning-rate", 1.0) as f32,
        pull: number("pull", 0.001) as f32,
        held_out: number("held-out", defaults.held_out),
        seed: matches.get_one("seed").copied().unwrap_or_default(),
        force: matches.get_flag("force"),
        ..defaults
    }
}

fn number(text: &str, range: &str, is_allowed: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|value| is_allowed(*value)).ok_or_else(|| format!("must be a number {range}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "above 0 and at most 100", |value| value > 0.0 && value <= 100.0)
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 100", |value| (0.0..=100.0).contains(&value))
}

fn fraction(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 0.9", |value| (0.0..=0.9).contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<FinetuneOptions, clap::Error> {
        let words = std::iter::once("finetune").chain(words.iter().copied());
        finetune_command().try_get_matches_from(words).map(|matches| finetune_options(&matches))
    }

    #[test]
    fn defaults_in_the_help_equal_those_of_the_options() {
        assert_eq!(parsed(&["--from-feedback", "export"]).unwrap(), FinetuneOptions::new("export".into()));
    }

    #[test]
    fn flags_set_the_options() {
        let words =
            ["--from-feedback", "x", "--epochs", "7", "--learning-rate", "0.5", "--held-out", "0.5", "--seed", "3"];
        let options = parsed(&[&words[..], &["--pull", "0", "--force"]].concat()).unwrap();
        let expected = FinetuneOptions {
            epochs: 7,
            learning_rate: 0.5,
            held_out: 0.5,
            seed: 3,
            pull: 0.0,
            force: true,
            ..FinetuneOptions::new("x".into())
        };
        assert_eq!(options, expected);
        for words in
            [&[][..], &["--from-feedback", "x", "--held-out", "1"], &["--from-feedback", "x", "--learning-rate", "NaN"]]
        {
            assert_eq!(parsed(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}

//! What `kiln finetune` was told: flags become a plan.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::settings::with_settings;
use crate::config::settings::{LOGS, MODEL, PICTURES, Setting};
use kiln_finetune::FinetuneOptions;

/// The command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let feedback =
        flag("from-feedback", "FOLDER", "What 'kiln feedback export' wrote: feedback.jsonl and its pictures")
            .required(true)
            .value_parser(value_parser!(PathBuf));
    let epochs = flag("epochs", "N", "The most rounds through all pictures")
        .default_value("300")
        .value_parser(value_parser!(u32).range(1..=100_000));
    let learning_rate =
        flag("learning-rate", "PART", "Length of a step, as a part of the longest that surely leads downhill")
            .default_value("1")
            .value_parser(positive);
    let pull = flag(
        "pull",
        "PART",
        "How strongly weights are pulled back to where they were, which protects all other classes; \
         0: not at all",
    )
    .default_value("0.001")
    .value_parser(not_negative);
    let held_out = flag("held-out", "PART", "The part of the pictures that is not trained on, but judged by")
        .default_value("0.2")
        .value_parser(part);
    let seed = flag("seed", "N", "Holds out others").default_value("0").value_parser(value_parser!(u64));
    let force = Arg::new("force")
        .long("force")
        .help("Write the version even if it is no better on the held-out pictures, or none can be held out")
        .action(ArgAction::SetTrue);
    let command = Command::new("finetune")
        .about("Train the last layer of a model on pictures that people have corrected, as a new version")
        .after_help(
            "All but the last layer stays as it is. The version goes into the store of --model-store and answers nobody until \
             'kiln models canary' or 'kiln models promote' say so.\n\n\
             Example: kiln finetune --from-feedback export/ --model-store versions/",
        )
        .args([feedback, epochs, learning_rate, pull, held_out, seed, force]);
    let of_use =
        |setting: &Setting| matches!(setting.heading, MODEL | PICTURES | LOGS) || setting.key == "max-batch-size";
    with_settings(command, of_use)
}

/// The plan in what was typed.
pub(super) fn plan(matches: &ArgMatches) -> FinetuneOptions {
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

fn number(text: &str, what: &str, is_right: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.parse().ok().filter(|value| is_right(*value)).ok_or_else(|| format!("it must be a number {what}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "above 0, and no more than 100", |value| value > 0.0 && value <= 100.0)
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 100", |value| (0.0..=100.0).contains(&value))
}

fn part(text: &str) -> Result<f64, String> {
    number(text, "from 0 to 0.9", |value| (0.0..=0.9).contains(&value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Result<FinetuneOptions, clap::Error> {
        let words = std::iter::once("finetune").chain(words.iter().copied());
        command().try_get_matches_from(words).map(|matches| plan(&matches))
    }

    #[test]
    fn the_defaults_of_the_help_are_those_of_the_plan() {
        assert_eq!(typed(&["--from-feedback", "export"]).unwrap(), FinetuneOptions::new("export".into()));
    }

    #[test]
    fn flags_become_a_plan() {
        let words =
            ["--from-feedback", "x", "--epochs", "7", "--learning-rate", "0.5", "--held-out", "0.5", "--seed", "3"];
        let plan = typed(&[&words[..], &["--pull", "0", "--force"]].concat()).unwrap();
        let expected = FinetuneOptions {
            epochs: 7,
            learning_rate: 0.5,
            held_out: 0.5,
            seed: 3,
            pull: 0.0,
            force: true,
            ..FinetuneOptions::new("x".into())
        };
        assert_eq!(plan, expected);
        for words in
            [&[][..], &["--from-feedback", "x", "--held-out", "1"], &["--from-feedback", "x", "--learning-rate", "NaN"]]
        {
            assert_eq!(typed(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }
}

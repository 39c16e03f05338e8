//! Arguments of `kiln predict`.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::flags::with_settings;
use crate::config::settings::{BATCHING, IMAGES, LOGS, MODEL};
use crate::config::{Config, ConfigError};
use crate::predict::{Existing, Output, PredictRequest, ResultsFile, ResultsFormat, STDIN};

/// Id of the argument for the results file.
const RESULTS: &str = "results";
/// Id of the setting that names an output of the network.
const MODEL_OUTPUT: &str = "output";

const EXAMPLES: &str = "Examples:\n  kiln predict cat.jpg dog.png --top-k 3\n  kiln predict photos --recursive --output results.csv\n\n\
     The second one writes a row for each image, also for an image that cannot be classified. If it is interrupted, the same \
     command with --resume classifies the remaining images.\n\n\
     Exit status: 0 if all images are classified, 1 if not, 2 if the arguments are invalid, 130 after Ctrl-C.";

/// Defines `kiln predict`.
pub(super) fn predict_command() -> Command {
    let paths = Arg::new("paths")
        .value_name("PATH")
        .help("Images, folders of images, and - for one image on standard input.")
        .required(true)
        .num_args(1..)
        .value_parser(value_parser!(PathBuf));
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help).action(ArgAction::SetTrue);
    let recursive = switch("recursive", "Also classifies the images in all subfolders of the folders.");
    let top_k = Arg::new("top-k")
        .long("top-k")
        .value_name("N")
        .help(
            "Number of classes for each image, from 1 to 100. By default 5; of a multi-label model, all classes that reach the \
             threshold.",
        )
        .value_parser(value_parser!(u8).range(1..=100));
    let threshold = Arg::new("threshold")
        .long("threshold")
        .value_name("P")
        .help("Minimum probability of a class, from 0 to 1. By default 0.5 for a multi-label model, and 0 for others.")
        .value_parser(probability);
    let json = switch("json", "Prints one JSON object per line.").conflicts_with(RESULTS);
    let results = Arg::new(RESULTS)
        .long("output")
        .visible_alias("out")
        .value_name("FILE")
        .help("Writes a row for each image to this file, .csv, .jsonl or .parquet, instead of printing the classes.")
        .value_parser(PathBufValueParser::new().try_map(|path| {
            let format = ResultsFormat::of(&path)?;
            Ok::<_, String>((path, format))
        }));
    let resume = switch("resume", "Continues the file of --output: skips the images that have a row in it.")
        .requires(RESULTS)
        .conflicts_with("overwrite");
    let overwrite = switch("overwrite", "Replaces the file of --output.").requires(RESULTS);
    let command = Command::new("predict")
        .about("Classify image files without a server")
        .after_help(EXAMPLES)
        .args([paths, recursive, top_k, threshold, json, results, resume, overwrite]);
    // --output is the results file here.
    with_settings(command, |setting| matches!(setting.heading, MODEL | BATCHING | IMAGES | LOGS))
        .mut_arg(MODEL_OUTPUT, |arg| arg.long("model-output"))
}

/// Returns the parsed `kiln predict`.
///
/// # Errors
///
/// Returns an error if standard input is given twice.
pub(super) fn predict(matches: &ArgMatches, config: Box<Config>) -> Result<super::Command, ConfigError> {
    let paths: Vec<PathBuf> = matches.get_many("paths").map(|paths| paths.cloned().collect()).unwrap_or_default();
    if paths.iter().filter(|path| path.as_os_str() == STDIN).count() > 1 {
        return Err(ConfigError("'-' is given twice, but standard input is one image".to_string()));
    }
    let existing = match (matches.get_flag("resume"), matches.get_flag("overwrite")) {
        (true, _) => Existing::Resume,
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    let output = match matches.get_one::<(PathBuf, ResultsFormat)>(RESULTS) {
        Some((path, format)) => Output::File(ResultsFile { path: path.clone(), format: *format, existing }),
        None if matches.get_flag("json") => Output::JsonLines,
        None => Output::Text,
    };
    let request = PredictRequest {
        paths,
        recursive: matches.get_flag("recursive"),
        top_k: matches.get_one::<u8>("top-k").copied().map(usize::from),
        threshold: matches.get_one("threshold").copied(),
        output,
    };
    Ok(super::Command::Predict { request, config })
}

fn probability(text: &str) -> Result<f32, String> {
    let value = text.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "must be a number from 0 to 1".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CliError, Command, parse};

    fn parsed(words: &[&str]) -> Result<PredictRequest, CliError> {
        let words = ["kiln", "predict"].iter().chain(words).map(Into::into);
        match parse(words, &|_: &str| None)? {
            Command::Predict { request, .. } => Ok(request),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn results_file_and_what_happens_if_it_exists() {
        let output = |words: &[&str]| parsed(&[&["photos", "--output", "a.csv"], words].concat()).unwrap().output;
        for (words, existing) in
            [(&[][..], Existing::Refuse), (&["--resume"], Existing::Resume), (&["--overwrite"], Existing::Overwrite)]
        {
            let expected = ResultsFile { path: "a.csv".into(), format: ResultsFormat::Csv, existing };
            assert_eq!(output(words), Output::File(expected));
        }
        assert!(matches!(parsed(&["a", "--out", "a.jsonl"]).unwrap().output, Output::File(_)));
        assert_eq!(parsed(&["a"]).unwrap().output, Output::Text);
    }

    #[test]
    fn invalid_arguments_are_usage_errors() {
        for words in [
            &["a", "--resume"][..],
            &["a", "--overwrite"],
            &["a", "--output", "a.csv", "--resume", "--overwrite"],
            &["a", "--output", "a.csv", "--json"],
            &["a", "--output", "a.txt"],
            &["a", "--threshold", "1.5"],
            &["a", "--threshold", "NaN"],
        ] {
            assert!(matches!(parsed(words), Err(CliError::Clap(error)) if error.exit_code() == 2), "{words:?}");
        }
        assert!(matches!(parsed(&["-", "a", "-"]), Err(CliError::Config(_))));
    }

    #[test]
    fn output_of_the_network_has_another_flag() {
        let words = ["kiln", "predict", "a.jpg", "--model-output", "logits", "--threshold", "0.25"].map(Into::into);
        let Ok(Command::Predict { request, config }) = parse(words, &|_: &str| None) else { panic!("not parsed") };
        assert_eq!(config.model_file_options.output.as_deref(), Some("logits"));
        assert_eq!(request.threshold, Some(0.25));
    }
}

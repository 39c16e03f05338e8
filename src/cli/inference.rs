//! Arguments of the commands that use a model without a server: `kiln bench`, `kiln check` and `kiln inspect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::flags::with_settings;
use crate::bench::Plan;
use crate::config::Config;
use crate::config::settings::{LOGS, MODEL, Setting};

/// Seconds per measurement if `--seconds` is absent.
const DEFAULT_SECONDS: u16 = 5;

/// Defines `kiln bench`.
pub(super) fn bench_command() -> Command {
    let list = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N,N,..")
            .help(help)
            .default_value(default)
            .value_delimiter(',')
            .value_parser(value_parser!(u16).range(1..=1024))
    };
    let batch = list("batch", "1,2,4,8", "Batch sizes to measure the engine with.");
    let concurrency = list("concurrency", "1,4,16,64", "Numbers of connections to measure the whole server with.")
        .conflicts_with("engine-only");
    let engine_only = Arg::new("engine-only")
        .long("engine-only")
        .help("Measures the engine alone, without the server.")
        .action(ArgAction::SetTrue);
    let seconds = Arg::new("seconds")
        .long("seconds")
        .value_name("S")
        .help("Duration of each measurement in seconds.")
        .default_value("5")
        .value_parser(value_parser!(u16).range(1..=3600));
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).value_parser(value_parser!(PathBuf))
    };
    let images = path("images", "FOLDER", "Folder of images to classify [default: a built-in photo of 640x480].");
    let out = path("out", "FOLDER", "Folder for report.html, report.csv and report.json.").default_value("kiln-bench");
    let command = Command::new("bench")
        .about("Compare the throughput, latency, memory and start-up time of devices, and write a report")
        .after_help("Example: kiln bench --device cpu,vulkan --batch 1,8,32")
        .args([batch, concurrency, engine_only, seconds, images, out]);
    let applies = |setting: &Setting| {
        matches!(setting.heading, MODEL | LOGS) || matches!(setting.key, "decode-threads" | "max-queue-delay")
    };
    with_settings(command, applies)
}

/// Returns what `kiln bench` measures.
pub(super) fn bench_plan(matches: &ArgMatches) -> Plan {
    let numbers = |name: &str| {
        let given = matches.get_many::<u16>(name).into_iter().flatten();
        given.map(|number| usize::from(*number)).collect::<Vec<_>>()
    };
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    Plan {
        batch_sizes: numbers("batch"),
        concurrencies: if matches.get_flag("engine-only") { Vec::new() } else { numbers("concurrency") },
        time: Duration::from_secs(matches.get_one::<u16>("seconds").copied().unwrap_or(DEFAULT_SECONDS).into()),
        images: path("images"),
        out: path("out").unwrap_or_default(),
    }
}

/// Defines `kiln check`.
pub(super) fn check_command() -> Command {
    let command = Command::new("check")
        .about("Compare the logits of each model, or of --model alone, with its reference logits on each device")
        .after_help("Example: kiln check --model resnet50 --device cpu,vulkan");
    with_settings(command, |setting| matches!(setting.heading, MODEL | LOGS))
}

/// Defines `kiln inspect`.
pub(super) fn inspect_command() -> Command {
    let path = Arg::new("path")
        .value_name("MODEL")
        .help("ONNX file, or folder that holds one.")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    let command = Command::new("inspect")
        .about("Show what 'kiln serve MODEL' would serve: input, output, class names, preprocessing, and where they come from")
        .after_help("Example: kiln inspect resnet50.onnx")
        .arg(path);
    with_settings(command, |setting| matches!(setting.key, "output" | "input-size" | "preset"))
}

/// Returns the parsed `kiln inspect`.
pub(super) fn inspect(matches: &ArgMatches, config: Box<Config>) -> super::Command {
    super::Command::Inspect { path: matches.get_one::<PathBuf>("path").cloned().unwrap_or_default(), config }
}

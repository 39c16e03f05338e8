//! The clap commands, made from the table of settings.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

use super::{finetune, import};
use crate::config::settings::{SETTINGS, Setting};
use crate::keys::{Priority, Scope};

/// The whole command line.
pub(super) fn command() -> Command {
    let serve = Command::new("serve").about("Serve classification over HTTP (what plain 'kiln' does)");
    let check = Command::new("check").about("Print the effective settings and where each comes from");
    with_settings(Command::new("kiln"), |_| true)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves image classification over HTTP: dynamic batching, on the GPU or the CPU.")
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(serve, |_| true))
        .subcommand(predict())
        .subcommand(bench())
        .subcommand(import::command())
        .subcommand(check_models())
        .subcommand(finetune_head())
        .subcommand(with_settings(super::healthcheck::command(), |setting| {
            matches!(setting.key, "listen" | "tls-cert")
        }))
        .subcommand(Command::new("devices").about("List the devices of this machine, and what 'auto' takes"))
        .subcommand(keygen())
        .subcommand(super::models::command())
        .subcommand(feedback())
        .subcommand(
            Command::new("config")
                .about("Look at the settings")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(with_settings(check, |_| true)),
        )
}

fn predict() -> Command {
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
    let of_use = |setting: &Setting| matches!(setting.heading, "Model and device" | "Batching" | "Pictures" | "Logs");
    with_settings(command, of_use)
}

fn bench() -> Command {
    let list = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N,N,..")
            .help(help)
            .default_value(default)
            .value_delimiter(',')
            .value_parser(value_parser!(u16).range(1..=1024))
    };
    let batch = list("batch", "1,2,4,8", "Batch sizes that the engine is measured with");
    let concurrency = list("concurrency", "1,4,16,64", "Connections that the whole server is measured with")
        .conflicts_with("engine-only");
    let engine_only = Arg::new("engine-only")
        .long("engine-only")
        .help("Leave the server out, and measure the engine alone")
        .action(ArgAction::SetTrue);
    let seconds = Arg::new("seconds")
        .long("seconds")
        .value_name("S")
        .help("How long each measurement takes")
        .default_value("5")
        .value_parser(value_parser!(u16).range(1..=3600));
    let path = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).value_parser(value_parser!(PathBuf))
    };
    let images = path("images", "FOLDER", "Pictures to classify [default: a photo of 640x480 that is built in]");
    let out = path("out", "FOLDER", "Where report.html, report.csv and report.json go").default_value("kiln-bench");
    let command = Command::new("bench")
        .about("Measure devices side by side: throughput, latency, memory, start-up; with a report to look at")
        .after_help("Example: kiln bench --device cpu,vulkan --batch 1,8,32")
        .args([batch, concurrency, engine_only, seconds, images, out]);
    let of_use = |setting: &Setting| {
        matches!(setting.heading, "Model and device" | "Logs")
            || matches!(setting.key, "decode-threads" | "max-queue-delay")
    };
    with_settings(command, of_use)
}

fn finetune_head() -> Command {
    let of_use = |setting: &Setting| {
        matches!(setting.heading, "Model and device" | "Pictures" | "Logs") || setting.key == "max-batch-size"
    };
    with_settings(finetune::command(), of_use)
}

fn check_models() -> Command {
    let command = Command::new("check")
        .about(
            "Check that each model answers a picture whose logits are known as it should, or the one of --model alone",
        )
        .after_help("Example: kiln check --model resnet50 --device cpu,vulkan");
    with_settings(command, |setting| matches!(setting.heading, "Model and device" | "Logs"))
}

fn keygen() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).requires("id")
    };
    let id = Arg::new("id")
        .long("id")
        .value_name("NAME")
        .help("Print an entry for the file of --keys, for a key of that name");
    let scope = option("scope", "SCOPE", "What it opens: predict, feedback, metrics, admin [default: predict]")
        .action(ArgAction::Append)
        .value_delimiter(',')
        .value_parser(value_parser!(Scope));
    let expires =
        option("expires", "WHEN", "From when on it opens nothing: 2027-01-31, 2027-01-31T12:00:00Z, or in 90d");
    let per_second = option("requests-per-second", "N", "How often it may be used").value_parser(value_parser!(f64));
    let burst = option("burst", "N", "How many requests may come at once [default: a second's worth]")
        .requires("requests-per-second")
        .value_parser(value_parser!(NonZeroU32));
    let share = option("queue-share", "PART", "Which part of the queue its pictures may take, such as 0.5")
        .value_parser(value_parser!(f64));
    let priority = option("priority", "PRIORITY", "high, normal or low: whose pictures go first [default: normal]")
        .value_parser(value_parser!(Priority));
    Command::new("keygen")
        .about("Print a new API key, or an entry for a key file")
        .after_help(
            "With --id, the entry goes to standard output and the key itself, which is stored nowhere, to standard error: \
             kiln keygen --id mobile-app --scope predict >> keys.toml",
        )
        .args([id, scope, expires, per_second, burst, share, priority])
}

fn feedback() -> Command {
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

pub(super) fn with_settings(command: Command, wanted: impl Fn(&Setting) -> bool) -> Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("A TOML file with settings, keys named as the flags [env: KILN_CONFIG]")
        .value_parser(value_parser!(PathBuf));
    let wanted: Vec<&Setting> = SETTINGS.iter().filter(|setting| wanted(setting)).collect();
    let secrets: Vec<String> = wanted
        .iter()
        .filter(|setting| setting.secret)
        .map(|setting| format!("{}: {}. No flag: others could read it.", setting.variable(), setting.help))
        .collect();
    let flags = wanted.iter().filter(|setting| !setting.secret).map(|setting| flag(setting));
    let command = command.arg(config).args(flags.collect::<Vec<_>>());
    let precedence = "Every setting is a variable (KILN_...) and a key of the --config file, and every setting but the \
                      API key is a flag. A flag beats a variable, which beats the file.";
    let after = secrets.into_iter().chain([precedence.to_string()]).collect::<Vec<_>>().join("\n\n");
    let example = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    command.after_help(format!("{example}{after}"))
}

fn flag(setting: &Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let flag = Arg::new(setting.key).long(setting.key).value_name(setting.value);
    // The name alone says yes.
    let flag = if setting.value == "BOOL" {
        flag.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        flag
    };
    flag.help(format!("{} [env: {}]{default}", setting.help, setting.variable())).help_heading(setting.heading)
}

//! `kiln bench`: its arguments, and what was typed of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::settings::with_settings;
use crate::bench::Plan;
use crate::config::settings::{LOGS, MODEL, Setting};

/// The command.
pub(super) fn command() -> Command {
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
        matches!(setting.heading, MODEL | LOGS) || matches!(setting.key, "decode-threads" | "max-queue-delay")
    };
    with_settings(command, of_use)
}

/// What to measure.
pub(super) fn plan(matches: &ArgMatches) -> Plan {
    let numbers = |name: &str| {
        let given = matches.get_many::<u16>(name).into_iter().flatten();
        given.map(|number| usize::from(*number)).collect::<Vec<_>>()
    };
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    Plan {
        batch_sizes: numbers("batch"),
        concurrencies: if matches.get_flag("engine-only") { Vec::new() } else { numbers("concurrency") },
        time: Duration::from_secs(matches.get_one::<u16>("seconds").copied().unwrap_or(5).into()),
        images: path("images"),
        out: path("out").unwrap_or_default(),
    }
}

//! `kiln models`: the words, and what was typed of them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::settings::with_settings;
use crate::store::{Canary, Order, Share};

/// The command with all its words.
pub(super) fn command() -> Command {
    let name = || Arg::new("name").value_name("NAME").help("The model").required(true);
    let version = || Arg::new("version").value_name("VERSION").help("The version").required(true);
    let off = |help: &'static str| Arg::new("off").long("off").help(help).action(ArgAction::SetTrue);
    let tried = || version().required(false).required_unless_present("off").conflicts_with("off");
    let named = |help: &'static str| Arg::new("version").long("version").value_name("VERSION").help(help);
    let file = |id: &'static str| Arg::new(id).required(true).value_parser(value_parser!(PathBuf));
    let share = Arg::new("share")
        .long("share")
        .value_name("PART")
        .help("Which part of the requests that name no version it answers, such as 10%")
        .default_value("10%")
        .value_parser(value_parser!(Share));
    let weights = file("file").value_name("WEIGHTS.bpk").help("A Burnpack file; 'kiln models export' writes one");
    let out = file("out").long("out").value_name("FILE.bpk").help("The file, which must not be there yet");
    let words =
        [
            Command::new("list").about("Show every version with its labels"),
            Command::new("add")
                .about("Take in other weights of a model, once they have proved to fit its graph")
                .args([name(), weights, named("What to call it [default: the next number]")]),
            Command::new("export").about("Write the weights of a version to a file").args([
                name(),
                named("Which one [default: the stable one]"),
                out,
            ]),
            Command::new("promote").about("Make a version the stable one, which answers").args([name(), version()]),
            Command::new("rollback").about("Make the version stable again that was so before").arg(name()),
            Command::new("canary").about("Have a version answer a part of the requests that name none").args([
                name(),
                tried(),
                share.conflicts_with("off"),
                off("Have it answer none any more"),
            ]),
            Command::new("shadow")
                .about("Have a version's answers compared with the stable ones, without anybody seeing them")
                .args([name(), tried(), off("Compare no more")]),
            Command::new("remove").about("Delete a version that has no label").args([name(), version()]),
        ];
    let with_store = |word: Command| with_settings(word, |setting| setting.key == "model-store");
    Command::new("models")
        .about("Keep versions of the models with other weights, and choose who answers")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(words.map(with_store))
        .after_help(
            "All of it is done in the folder of --model-store, whether a server runs or not; one that does sees it and begins to \
             load within two seconds.",
        )
}

/// What is to be done, of a word and its arguments.
pub(super) fn order(word: &str, matches: &ArgMatches) -> Order {
    let text = |id: &str| matches.try_get_one::<String>(id).ok().flatten().cloned();
    let path = |id: &str| matches.get_one::<PathBuf>(id).cloned().unwrap_or_default();
    // Not "model", which is a setting.
    let model = text("name").unwrap_or_default();
    let version = text("version");
    let named = || version.clone().unwrap_or_default();
    match word {
        "add" => Order::Add { model, file: path("file"), version },
        "export" => Order::Export { model, version, out: path("out") },
        "promote" => Order::Promote { model, version: named() },
        "rollback" => Order::Rollback { model },
        "canary" => {
            let share = matches.get_one::<Share>("share").copied();
            Order::Canary { model, canary: version.zip(share).map(|(version, share)| Canary { version, share }) }
        }
        "shadow" => Order::Shadow { model, version },
        "remove" => Order::Remove { model, version: named() },
        _ => Order::List,
    }
}

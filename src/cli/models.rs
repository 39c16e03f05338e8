//! Arguments of `kiln models`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::flags::with_settings;
use crate::model_store::{Canary, StoreCommand, TrafficShare};

/// Defines `kiln models` with its subcommands.
pub(super) fn models_command() -> Command {
    let name = || Arg::new("name").value_name("NAME").help("Name of the model.").required(true);
    let version = || Arg::new("version").value_name("VERSION").help("Name of the version.").required(true);
    let off = |help: &'static str| Arg::new("off").long("off").help(help).action(ArgAction::SetTrue);
    let version_or_off = || version().required(false).required_unless_present("off").conflicts_with("off");
    let version_flag = |help: &'static str| Arg::new("version").long("version").value_name("VERSION").help(help);
    let file = |id: &'static str| Arg::new(id).required(true).value_parser(value_parser!(PathBuf));
    let share = Arg::new("share")
        .long("share")
        .value_name("FRACTION")
        .help("Fraction of the requests that name no version, such as 10%.")
        .default_value("10%")
        .value_parser(value_parser!(TrafficShare));
    let weights =
        file("file").value_name("WEIGHTS.bpk").help("Burnpack file with the weights; 'kiln models export' writes one.");
    let out = file("out").long("out").value_name("FILE.bpk").help("File to write. It must not exist.");
    let subcommands =
        [
            Command::new("list").about("List every version with its labels"),
            Command::new("add")
                .about("Add weights of a model as a new version, after a check that they fit its graph")
                .args([name(), weights, version_flag("Name of the version [default: the next number].")]),
            Command::new("export").about("Write the weights of a version to a file").args([
                name(),
                version_flag("Version to export [default: the stable version]."),
                out,
            ]),
            Command::new("promote").about("Make a version the stable version, which serves requests").args([name(), version()]),
            Command::new("rollback").about("Make the previous stable version stable again").arg(name()),
            Command::new("canary").about("Send a fraction of the requests that name no version to a version").args([
                name(),
                version_or_off(),
                share.conflicts_with("off"),
                off("Ends the canary."),
            ]),
            Command::new("shadow")
                .about("Compare the predictions of a version with those of the stable version; clients receive only the stable ones")
                .args([name(), version_or_off(), off("Ends the comparison.")]),
            Command::new("remove").about("Delete a version that has no label").args([name(), version()]),
        ];
    let with_store = |subcommand: Command| with_settings(subcommand, |setting| setting.key == "model-store");
    Command::new("models")
        .about("Manage versions of the models, and choose which version serves requests")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(subcommands.map(with_store))
        .after_help(
            "These commands change the folder of --model-store. A running server notices the change and begins to load within two \
             seconds.",
        )
}

/// Returns the parsed subcommand of `kiln models`.
pub(super) fn store_command(subcommand: &str, matches: &ArgMatches) -> StoreCommand {
    let text = |id: &str| matches.try_get_one::<String>(id).ok().flatten().cloned();
    let path = |id: &str| matches.get_one::<PathBuf>(id).cloned().unwrap_or_default();
    // Not "model", which is the key of a setting.
    let model = text("name").unwrap_or_default();
    let version = text("version");
    let required = || version.clone().unwrap_or_default();
    match subcommand {
        "add" => StoreCommand::Add { model, file: path("file"), version },
        "export" => StoreCommand::Export { model, version, out: path("out") },
        "promote" => StoreCommand::Promote { model, version: required() },
        "rollback" => StoreCommand::Rollback { model },
        "canary" => {
            let share = matches.get_one::<TrafficShare>("share").copied();
            StoreCommand::Canary { model, canary: version.zip(share).map(|(version, share)| Canary { version, share }) }
        }
        "shadow" => StoreCommand::Shadow { model, version },
        "remove" => StoreCommand::Remove { model, version: required() },
        _ => StoreCommand::List,
    }
}

//! The whole command line, of the commands that have files of their own and a few that have little to say.

use clap::Command;

use super::settings::with_settings;
use super::{bench, feedback, finetune, healthcheck, import, keygen, models, predict, shell};
use crate::config::settings::{LOGS, MODEL};

/// `kiln` and its commands.
pub(super) fn command() -> Command {
    let serve = Command::new("serve").about("Serve classification over HTTP (what plain 'kiln' does)");
    let check = Command::new("check").about("Print the effective settings and where each comes from");
    with_settings(Command::new("kiln"), |_| true)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves image classification over HTTP: dynamic batching, on the GPU or the CPU.")
        .args_conflicts_with_subcommands(true)
        .subcommand(with_settings(serve, |_| true))
        .subcommand(predict::command())
        .subcommand(bench::command())
        .subcommand(import::command())
        .subcommand(check_models())
        .subcommand(finetune::command())
        .subcommand(healthcheck::command())
        .subcommand(Command::new("devices").about("List the devices of this machine, and what 'auto' takes"))
        .subcommand(keygen::command())
        .subcommand(models::command())
        .subcommand(feedback::command())
        .subcommand(
            Command::new("config")
                .about("Look at the settings")
                .subcommand_required(true)
                .arg_required_else_help(true)
                .subcommand(with_settings(check, |_| true)),
        )
        .subcommand(shell::completions())
        .subcommand(shell::man())
}

fn check_models() -> Command {
    let command = Command::new("check")
        .about(
            "Check that each model answers a picture whose logits are known as it should, or the one of --model alone",
        )
        .after_help("Example: kiln check --model resnet50 --device cpu,vulkan");
    with_settings(command, |setting| matches!(setting.heading, MODEL | LOGS))
}

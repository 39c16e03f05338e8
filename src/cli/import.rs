//! What `kiln import` was told: flags become an order.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use model_import::Filter;
use model_import::import::{PRESETS, Preset};

use crate::import::{Labels, Order, channels, deviations, size};

/// The command.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let onnx = Arg::new("onnx")
        .value_name("MODEL.onnx")
        .help("The classifier: one input float32 [batch, 3, height, width], one output of logits")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    let about = [
        flag("name", "NAME", "Its name in addresses [default: the file's]"),
        flag("model-version", "VERSION", "Its version [default: 1]"),
        flag("description", "TEXT", "One sentence for the people who will choose among the models"),
        flag("source", "TEXT", "Where the weights come from, exactly enough to get the same ones again"),
        flag("licence", "SPDX", "The licence that the weights came under"),
        flag(
            "labels",
            "FILE",
            "Names of the classes, one a line; or 'imagenet'; or 'numbers', which writes class_0 and so on",
        )
        .value_parser(|text: &str| text.parse::<Labels>()),
    ];
    let pictures = [
        flag("size", "WIDTHxHEIGHT", "Size of the pictures, for a network that leaves it open").value_parser(size),
        flag("preset", "WHOSE", "How the training code prepared its pictures; the list is below")
            .value_parser(|text: &str| text.parse::<&'static Preset>()),
        flag("filter", "FILTER", "Instead of the preset's: bilinear, bicubic or lanczos")
            .value_parser(|text: &str| text.parse::<Filter>()),
        flag(
            "crop",
            "CROP",
            "Instead of the preset's: none, a part of the shorter side (0.875; 1 is all of it), or a padding in pixels (32)",
        ),
        flag("mean", "R,G,B", "Instead of the preset's, in units of 0..255")
            .value_parser(channels)
            .allow_hyphen_values(true),
        flag("std", "R,G,B", "Instead of the preset's, in units of 0..255").value_parser(deviations),
    ];
    let check = [
        flag(
            "logits",
            "FILE",
            "What another runtime answers to the synthetic picture of model-import/export/images.py, one a \
             line: kept, and checked now and at each start of a server",
        )
        .value_parser(value_parser!(PathBuf)),
        switch("verify", "Build the program now and check the model in it; so it is with --logits"),
        switch("no-verify", "Leave that out").conflicts_with("verify"),
    ];
    let place = [
        flag(
            "out",
            "FOLDER",
            "The folder to make [default: model-import/models/NAME of the checkout that this is run in]",
        )
        .value_parser(value_parser!(PathBuf)),
        switch("force", "Replace a model that is there already"),
    ];
    Command::new("import")
        .about("Turn an ONNX classifier into a folder that the build takes")
        .after_help(after_help())
        .arg(onnx)
        .args(about.map(|arg| arg.help_heading("About the model")))
        .args(pictures.map(|arg| arg.help_heading("How pictures are prepared")))
        .args(check.map(|arg| arg.help_heading("Proof that it is the same network")))
        .args(place.map(|arg| arg.help_heading("Where it goes")))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn after_help() -> String {
    let presets: String = PRESETS.iter().map(|preset| format!("  {:<18} {}\n", preset.name, preset.about)).collect();
    format!(
        "Presets:\n{presets}\n\
         A wrong preset breaks nothing and only costs accuracy, often several points, so take it from the training code or the \
         model's card rather than guess. (--logits finds a wrong mean or std, but no wrong filter or crop.)\n\n\
         What has no default is asked for on a terminal. With --labels and --preset nothing is asked.\n\n\
         Example: kiln import resnet50.onnx --labels imagenet --preset torchvision --logits logits.txt"
    )
}

/// The order in what was typed.
pub(super) fn order(matches: &ArgMatches) -> Order {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let verify = match (matches.get_flag("verify"), matches.get_flag("no-verify")) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Order {
        onnx: path("onnx").unwrap_or_default(),
        size: matches.get_one("size").copied(),
        name: text("name"),
        version: text("model-version"),
        description: text("description"),
        source: text("source"),
        licence: text("licence"),
        labels: matches.get_one("labels").cloned(),
        preset: matches.get_one::<&'static Preset>("preset").copied(),
        filter: matches.get_one("filter").copied(),
        crop: text("crop"),
        mean: matches.get_one("mean").copied(),
        std: matches.get_one("std").copied(),
        logits: path("logits"),
        out: path("out"),
        replace: matches.get_flag("force"),
        verify,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Result<Order, clap::Error> {
        let words = std::iter::once("import").chain(words.iter().copied());
        command().try_get_matches_from(words).map(|matches| order(&matches))
    }

    #[test]
    fn flags_become_an_order() {
        let order = typed(&[
            "net.onnx",
            "--labels",
            "numbers",
            "--preset",
            "timm",
            "--mean",
            "0",
            "--std",
            "255,255,255",
            "--size",
            "160x96",
            "--model-version",
            "7",
            "--no-verify",
            "--force",
        ])
        .unwrap();
        assert_eq!((order.labels, order.preset.unwrap().name), (Some(Labels::Numbers), "timm"));
        assert_eq!((order.mean, order.std, order.size), (Some([0.0; 3]), Some([255.0; 3]), Some([160, 96])));
        assert_eq!((order.version.as_deref(), order.verify, order.replace), (Some("7"), Some(false), true));
        let plain = typed(&["net.onnx"]).unwrap();
        assert!(plain.labels.is_none() && plain.verify.is_none() && !plain.replace);
    }

    #[test]
    fn wrong_values_are_told_with_what_they_must_be() {
        for (words, part) in [
            (&[][..], "MODEL.onnx"),
            (&["net.onnx", "--preset", "pytorch"], "torchvision"),
            (&["net.onnx", "--size", "224"], "224x224"),
            (&["net.onnx", "--std", "0.229,0.224,0.225"], "units of 0..255"),
            (&["net.onnx", "--filter", "nearest"], "bilinear"),
            (&["net.onnx", "--verify", "--no-verify"], "cannot be used with"),
        ] {
            let error = typed(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_help_lists_every_preset_and_says_what_a_wrong_one_costs() {
        let help = command().render_help().to_string();
        for preset in PRESETS {
            assert!(help.contains(preset.name), "{}", preset.name);
        }
        assert!(help.contains("only costs accuracy"), "{help}");
    }
}

//! Arguments of `kiln import`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use model_import::Filter;
use model_import::import::{PRESETS, Preset};

use crate::import::{ImportRequest, LabelSource, parse_channels, parse_deviations, parse_size};

/// Defines `kiln import`.
pub(super) fn import_command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let onnx = Arg::new("onnx")
        .value_name("MODEL.onnx")
        .help("ONNX classifier with one input, float32 [batch, 3, height, width], and one output, the logits.")
        .required(true)
        .value_parser(value_parser!(PathBuf));
    let about = [
        flag("name", "NAME", "Name of the model in URLs [default: the name of the file]."),
        flag("model-version", "VERSION", "Version of the model [default: 1]."),
        flag("description", "TEXT", "One sentence that helps users to choose among the models."),
        flag("source", "TEXT", "Source of the weights, exact enough to obtain the same weights again."),
        flag("licence", "SPDX", "Licence of the weights."),
        flag(
            "labels",
            "FILE",
            "File with the names of the classes, one per line; or 'imagenet'; or 'numbers' for class_0, class_1 and so on.",
        )
        .value_parser(|text: &str| text.parse::<LabelSource>()),
    ];
    let preprocessing = [
        flag("size", "WIDTHxHEIGHT", "Image size, for a network with a dynamic input size.").value_parser(parse_size),
        flag("preset", "NAME", "Preprocessing of the training code. The presets are listed below.")
            .value_parser(
                PossibleValuesParser::new(PRESETS.iter().map(|preset| preset.name))
                    .try_map(|text| text.parse::<&'static Preset>()),
            )
            .hide_possible_values(true),
        flag("filter", "FILTER", "Resize filter, instead of the preset's: bilinear, bicubic or lanczos.")
            .value_parser(
                PossibleValuesParser::new(["bilinear", "bicubic", "lanczos"]).try_map(|text| text.parse::<Filter>()),
            )
            .hide_possible_values(true),
        flag(
            "crop",
            "CROP",
            "Centre crop, instead of the preset's: none, a fraction of the shorter side (0.875; 1 is all of it), or a padding in pixels (32).",
        ),
        flag("mean", "R,G,B", "Mean per channel, instead of the preset's, in units of 0..255.")
            .value_parser(parse_channels)
            .allow_hyphen_values(true),
        flag("std", "R,G,B", "Standard deviation per channel, instead of the preset's, in units of 0..255.")
            .value_parser(parse_deviations),
    ];
    let check = [
        flag(
            "logits",
            "FILE",
            "Reference logits: the output of another runtime for the synthetic image of model-import/export/images.py, one per line. \
             Kiln stores them, and checks the model against them now and at each start of a server.",
        )
        .value_parser(value_parser!(PathBuf)),
        switch("verify", "Builds the program now and checks the model in it. --logits implies it."),
        switch("no-verify", "Skips the build and the check.").conflicts_with("verify"),
    ];
    let place = [
        flag(
            "out",
            "FOLDER",
            "Folder to create [default: model-import/models/NAME in the checkout of the current folder].",
        )
        .value_parser(value_parser!(PathBuf)),
        switch("force", "Replaces an existing model."),
    ];
    Command::new("import")
        .about("Convert an ONNX classifier to a model folder that the build compiles in")
        .after_help(after_help())
        .arg(onnx)
        .args(about.map(|arg| arg.help_heading("About the model")))
        .args(preprocessing.map(|arg| arg.help_heading("Preprocessing")))
        .args(check.map(|arg| arg.help_heading("Verification")))
        .args(place.map(|arg| arg.help_heading("Output")))
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn after_help() -> String {
    let presets: String = PRESETS.iter().map(|preset| format!("  {:<18} {}\n", preset.name, preset.about)).collect();
    format!(
        "Presets:\n{presets}\n\
         A wrong preset causes no error; it only costs accuracy, often several points. Take the preset from the training code or the \
         model card. (--logits detects a wrong mean or std, but not a wrong filter or crop.)\n\n\
         On a terminal, Kiln asks for missing values that have no default. With --labels and --preset, it asks for nothing.\n\n\
         Example: kiln import resnet50.onnx --labels imagenet --preset torchvision --logits logits.txt"
    )
}

/// Returns the parsed `kiln import`.
pub(super) fn import_request(matches: &ArgMatches) -> ImportRequest {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let verify = match (matches.get_flag("verify"), matches.get_flag("no-verify")) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    ImportRequest {
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

    fn parsed(words: &[&str]) -> Result<ImportRequest, clap::Error> {
        let words = std::iter::once("import").chain(words.iter().copied());
        import_command().try_get_matches_from(words).map(|matches| import_request(&matches))
    }

    #[test]
    fn flags_set_the_request() {
        let order = parsed(&[
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
        assert_eq!((order.labels, order.preset.unwrap().name), (Some(LabelSource::Numbers), "timm"));
        assert_eq!((order.mean, order.std, order.size), (Some([0.0; 3]), Some([255.0; 3]), Some([160, 96])));
        assert_eq!((order.version.as_deref(), order.verify, order.replace), (Some("7"), Some(false), true));
        let plain = parsed(&["net.onnx"]).unwrap();
        assert!(plain.labels.is_none() && plain.verify.is_none() && !plain.replace);
    }

    #[test]
    fn invalid_values_are_reported_with_allowed_values() {
        for (words, part) in [
            (&[][..], "MODEL.onnx"),
            (&["net.onnx", "--preset", "pytorch"], "torchvision"),
            (&["net.onnx", "--size", "224"], "224x224"),
            (&["net.onnx", "--std", "0.229,0.224,0.225"], "units of 0..255"),
            (&["net.onnx", "--filter", "nearest"], "bilinear"),
            (&["net.onnx", "--verify", "--no-verify"], "cannot be used with"),
        ] {
            let error = parsed(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn help_lists_every_preset_and_warns_of_a_wrong_one() {
        let help = import_command().render_help().to_string();
        for preset in PRESETS {
            assert!(help.contains(preset.name), "{}", preset.name);
        }
        assert!(help.contains("only costs accuracy"), "{help}");
    }
}

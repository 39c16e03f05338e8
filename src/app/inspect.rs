//! `kiln inspect MODEL`: prints what a server would serve, and where each part of it was found.

use std::fmt::Write as _;
use std::path::Path;

use kiln_inference::model::onnx_model::Takes;
use kiln_inference::model::{ModelSpec, Task};
use kiln_inference::model_file::{self, ModelFile, ModelFileError};
use model_import::Crop;
use model_import::import::{shorten, terminal_line};

use crate::config::Config;

/// The number of class names that are printed.
const SHOWN_LABELS: usize = 3;

/// Returns the table of `kiln inspect`.
///
/// # Errors
///
/// The model cannot be served.
pub fn inspect(path: &Path, config: &Config) -> Result<String, ModelFileError> {
    let file = model_file::open(path, &config.model_file_options)?;
    Ok(table(&file))
}

fn table(file: &ModelFile) -> String {
    let (spec, input, output) = (file.model.spec(), &file.input, &file.output);
    let takes = match input.takes {
        Takes::Normalised => "normalised values",
        Takes::Pixels => "pixels, 0..255; the network normalises them",
        Takes::UnitRange => "pixels, 0..1",
    };
    let channels = match input.channels {
        1 => "grayscale",
        4 => "RGB and alpha",
        _ => "RGB",
    };
    let rows = [
        ("model", format!("{} {}", spec.name, spec.version)),
        ("file", file.path.display().to_string()),
        ("sha256", spec.sha256.clone()),
        ("source", spec.source.clone()),
        ("licence", spec.licence.clone()),
        ("input", format!("'{}', {}x{} {channels}, {takes}", shorten(&input.name), input.width, input.height)),
        ("output", format!("'{}', {} values, {}", shorten(&output.name), output.width, spec.task.as_str())),
        ("classes", classes(spec)),
        ("class names", file.labels_origin.clone()),
        ("resize", resize(spec)),
        ("normalisation", format!("(x - mean) / std for x in 0..255; mean {:?}, std {:?}", spec.mean, spec.std)),
        ("preprocessing", file.preprocess_origin.clone()),
    ];
    let mut table = String::new();
    let warnings = file.warnings.iter().map(|warning| ("warning", warning.clone()));
    let notes = file.notes.iter().map(|note| ("note", note.clone()));
    for (name, text) in rows.into_iter().chain(notes).chain(warnings) {
        // Texts of the file must not control the terminal, nor break the lines.
        let _ = writeln!(table, "{name:<14} {}", terminal_line(&text));
    }
    table
}

fn classes(spec: &ModelSpec) -> String {
    if spec.task == Task::Embedding {
        return "none; POST /embed returns the embedding".to_string();
    }
    let first = spec.labels.iter().take(SHOWN_LABELS).map(|label| &**label).collect::<Vec<_>>().join(", ");
    let more = if spec.labels.len() > SHOWN_LABELS { ", ..." } else { "" };
    format!("{}: {first}{more}", spec.labels.len())
}

fn resize(spec: &ModelSpec) -> String {
    let ModelSpec { width, height, .. } = *spec;
    let filter = spec.filter.as_str();
    match spec.crop {
        Crop::None => format!("the whole photo, stretched to {width}x{height}, {filter}"),
        Crop::CentralPadded { padding } => {
            let side = width.min(height);
            format!("the central square, {side}/{} of the shorter side, to {width}x{height}, {filter}", side + padding)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_takes_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let onnx = folder.path().join("cat.onnx");
        std::fs::write(&onnx, kiln_zoo::fill(&std::fs::read("crates/zoo/skeletons/act_silu.onnx").unwrap()).unwrap())
            .unwrap();
        let mut file = model_file::open(&onnx, &model_file::FileOptions::default()).unwrap();
        let lines = table(&file).lines().count();
        file.labels_origin = "a\nb\t\u{1b}[2J".to_string();
        let table = table(&file);
        assert!(table.lines().count() == lines && table.contains("class names    a b \u{fffd}[2J\n"), "{table}");
    }
}

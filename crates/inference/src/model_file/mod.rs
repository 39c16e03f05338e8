//! A model from an ONNX file: everything that serving needs besides the network, found in the files beside it.
//!
//! ```text
//! path ── location ──── the .onnx file, its folders, the model's name, model.toml
//!      ── onnx_model ── input, output, metadata
//!      ── labels ────── class names
//!      ── preprocess ── filter, crop, mean and standard deviation
//! ```

mod error;
mod files;
mod hugging_face;
mod json_values;
mod label_text;
mod labels;
mod location;
mod manifest;
mod preprocess;
#[cfg(test)]
mod tests;
mod timm;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model_import::import::Preset;

use crate::model::onnx_model::{self, InputInfo, OnnxSource, OutputInfo, OutputKind, ReadOptions};
use crate::model::{Model, ModelSpec, Task};
pub use error::ModelFileError;
use location::Location;
pub use location::RepositoryVersion;
use preprocess::FoundPreprocess;

/// Maximum size of a file of reference logits in bytes.
const MAX_LOGITS_BYTES: u64 = 16 << 20;
/// The largest side of a network's input in pixels. A batch of larger images would not fit in memory.
const MAX_SIDE: usize = 8192;

/// What to read from an ONNX file, and how.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// The output to serve. `None` selects the only output that can be logits.
    pub output: Option<String>,
    /// Height and width, for files that leave them open.
    pub image_size: Option<[usize; 2]>,
    /// The preprocessing, for models without a `model.toml` that sets it.
    pub preset: Option<&'static Preset>,
}

/// A model that was read from a file, and where its description was found.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// The model.
    pub model: Model,
    /// The ONNX file.
    pub path: PathBuf,
    /// The network's input.
    pub input: InputInfo,
    /// The network's output.
    pub output: OutputInfo,
    /// Where the class names were found.
    pub labels_origin: String,
    /// Where the preprocessing was found.
    pub preprocess_origin: String,
    /// What was assumed and may be wrong.
    pub warnings: Vec<String>,
    /// What was changed in the network.
    pub notes: Vec<String>,
}

/// Opens the model at `path`, an ONNX file or a folder that holds one, and finds its description.
///
/// # Errors
///
/// See [`ModelFileError`].
pub fn open(path: &Path, options: &FileOptions) -> Result<ModelFile, ModelFileError> {
    open_at(&Location::find(path)?, options)
}

/// Opens `path`, the ONNX file of a version in a model repository, and finds its description beside it or in the model's folder.
///
/// # Errors
///
/// See [`ModelFileError`].
pub fn open_version(
    path: &Path,
    version: &RepositoryVersion,
    options: &FileOptions,
) -> Result<ModelFile, ModelFileError> {
    open_at(&Location::in_repository(path, version)?, options)
}

fn open_at(location: &Location, options: &FileOptions) -> Result<ModelFile, ModelFileError> {
    let manifest_size = location.manifest.as_ref().and_then(|(_, manifest)| manifest.input);
    let manifest_size = manifest_size.map(|size| [size.height as usize, size.width as usize]);
    let open_options = ReadOptions { output: options.output.clone(), image_size: options.image_size.or(manifest_size) };
    let source = onnx_model::open(&location.onnx, &open_options)?;
    let own = [source.input().height, source.input().width];
    if let Some([height, width]) = manifest_size.filter(|size| *size != own) {
        let reason = format!(
            "its input takes images of {}x{} pixels (width by height), but [input] of model.toml says {width}x{height}. Correct it",
            own[1], own[0]
        );
        return Err(ModelFileError::invalid(&location.onnx, reason));
    }
    describe(location, source, options.preset)
}

/// Finds the description of an opened network.
fn describe(
    location: &Location,
    source: Arc<dyn OnnxSource>,
    preset: Option<&Preset>,
) -> Result<ModelFile, ModelFileError> {
    let (input, output) = (source.input().clone(), source.output().clone());
    let invalid = |reason: String| ModelFileError::invalid(&location.onnx, reason);
    if ![input.width, input.height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        let InputInfo { name, width, height, .. } = &input;
        return Err(invalid(format!("its input '{name}' is {width}x{height}; each side must be from 1 to {MAX_SIDE}")));
    }
    verify_digest(location, source.sha256())?;
    let labels = labels::find(location, &output, source.metadata())?;
    let FoundPreprocess { values, origin, warnings } = preprocess::find(location, &input, preset)?;
    let manifest = location.manifest.as_ref().map(|(_, manifest)| manifest.clone()).unwrap_or_default();
    let reference_logits = match (&location.manifest, &manifest.reference_logits) {
        (Some((path, _)), Some(file)) => Some(reference_logits(&path.with_file_name(file), outputs(&output))?),
        _ => None,
    };
    let file = location.onnx.file_name().unwrap_or_default().to_string_lossy();
    let what = match output.kind {
        OutputKind::Embedding => format!("embeddings of {} dimensions", output.width),
        _ => format!("{} classes", labels.names.len()),
    };
    let spec = ModelSpec {
        description: manifest.description.unwrap_or_else(|| format!("{}: {what}, from {file}", location.name)),
        source: manifest.source.unwrap_or_else(|| source_text(&*source, &file)),
        licence: manifest
            .licence
            .or_else(|| source.metadata().get("license").cloned())
            .unwrap_or_else(|| "unknown".to_string()),
        version: location.version.clone().or(manifest.version).unwrap_or_else(|| "1".to_string()),
        name: location.name.clone(),
        sha256: source.sha256().to_string(),
        width: input.width as u32,
        height: input.height as u32,
        filter: values.filter,
        crop: values.crop,
        mean: values.mean,
        std: values.std,
        labels: labels.names.into_iter().map(Arc::from).collect(),
        task: task(output.kind),
        outputs: outputs(&output),
        reference_logits,
    };
    Ok(ModelFile {
        path: location.onnx.clone(),
        notes: source.notes().to_vec(),
        labels_origin: labels.origin,
        preprocess_origin: origin,
        warnings: labels.warnings.into_iter().chain(warnings).collect(),
        model: Model::from_file(spec, source),
        input,
        output,
    })
}

fn task(kind: OutputKind) -> Task {
    match kind {
        OutputKind::Logits | OutputKind::Binary => Task::SingleLabel,
        OutputKind::MultiLabel => Task::MultiLabel,
        OutputKind::Embedding => Task::Embedding,
    }
}

/// Returns the number of values in a row of an engine: the adapter of a binary network adds the logit of the first class.
fn outputs(output: &OutputInfo) -> usize {
    if output.kind == OutputKind::Binary { 2 } else { output.width }
}

fn source_text(source: &dyn OnnxSource, file: &str) -> String {
    match source.metadata().get("producer") {
        Some(producer) => format!("{file}, written by {producer}"),
        None => file.to_string(),
    }
}

fn verify_digest(location: &Location, found: &str) -> Result<(), ModelFileError> {
    let expected = location.manifest.as_ref().and_then(|(_, manifest)| manifest.sha256.as_ref());
    match expected.filter(|expected| !expected.eq_ignore_ascii_case(found)) {
        None => Ok(()),
        Some(expected) => Err(ModelFileError::Digest {
            path: location.onnx.clone(),
            found: found.to_string(),
            expected: expected.clone(),
        }),
    }
}

/// Reads one finite number from each line.
fn reference_logits(path: &Path, needed: usize) -> Result<Box<[f32]>, ModelFileError> {
    let missing = || ModelFileError::invalid(path, "model.toml names this file, which does not exist");
    let bytes = files::read_optional(path, MAX_LOGITS_BYTES)?.ok_or_else(missing)?;
    let text = files::text(path, bytes)?;
    let logits = text.lines().map(|line| line.trim().parse().ok().filter(|logit: &f32| logit.is_finite()));
    let logits: Option<Box<[f32]>> = logits.collect();
    logits
        .filter(|logits| logits.len() == needed)
        .ok_or_else(|| ModelFileError::invalid(path, format!("it must have {needed} finite logits, one a line")))
}

/// An input for tests.
#[cfg(test)]
fn test_input(side: usize) -> InputInfo {
    let takes = onnx_model::Takes::Normalised;
    let name = "input".to_string();
    InputInfo { name, height: side, width: side, channels: 3, channels_last: false, element: "float32", takes }
}

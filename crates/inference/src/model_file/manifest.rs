//! The `model.toml` beside an ONNX file: the keys of a built-in model's manifest, all optional.

use std::path::{Path, PathBuf};

use model_import::import::{Preprocess, check_name, check_version};
use serde::Deserialize;

use super::error::ModelFileError;
use super::files::read_optional;

/// The name of the manifest.
const FILE: &str = "model.toml";
/// Maximum size of a manifest in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The content of a `model.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) description: Option<String>,
    pub(super) source: Option<String>,
    pub(super) licence: Option<String>,
    pub(super) onnx: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) reference_logits: Option<String>,
    pub(super) input: Option<ImageSize>,
    pub(super) preprocess: Option<Preprocess>,
}

/// The size of the network's input in pixels.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageSize {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// Reads the manifest of a folder, if it has one.
pub(super) fn read(folder: &Path) -> Result<Option<(PathBuf, Manifest)>, ModelFileError> {
    let path = folder.join(FILE);
    let Some(bytes) = read_optional(&path, MAX_BYTES)? else { return Ok(None) };
    let invalid = |reason: String| ModelFileError::invalid(&path, reason);
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8".to_string()))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| invalid(error.message().to_string()))?;
    validate(&manifest).map_err(invalid)?;
    Ok(Some((path, manifest)))
}

fn validate(manifest: &Manifest) -> Result<(), String> {
    if let Some(name) = &manifest.name {
        check_name(name).map_err(|reason| format!("'name' is part of URLs: {reason}"))?;
    }
    if let Some(version) = &manifest.version {
        check_version(version).map_err(|reason| format!("'version' is part of URLs: {reason}"))?;
    }
    let Manifest { onnx, labels, reference_logits, .. } = manifest;
    for (key, file) in [("onnx", onnx), ("labels", labels), ("reference_logits", reference_logits)] {
        if file.as_ref().is_some_and(|file| file.is_empty() || file.contains(['/', '\\'])) {
            return Err(format!("'{key}' must be a file in the model's folder"));
        }
    }
    if manifest.input.is_some_and(|size| size.width == 0 || size.height == 0) {
        return Err("'input.width' and 'input.height' must be above 0".to_string());
    }
    match &manifest.preprocess {
        Some(values) => validate_preprocess(values).map_err(|reason| format!("'preprocess': {reason}")),
        None => Ok(()),
    }
}

/// Checks the numbers of a preprocessing. Returns a clause that names the wrong one.
pub(super) fn validate_preprocess(values: &Preprocess) -> Result<(), String> {
    if !values.mean.iter().all(|mean| mean.is_finite()) {
        return Err("each mean must be finite".to_string());
    }
    if !values.std.iter().all(|std| std.is_finite() && *std > 0.0) {
        return Err("each standard deviation must be finite and above 0".to_string());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<(PathBuf, Manifest)>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), text).unwrap();
        read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_optional_and_unknown_keys_are_errors() {
        assert!(parsed("").unwrap().is_some());
        let all = "name = \"pets\"\n[preprocess]\nfilter = \"bicubic\"\ncrop = { central-padded = 32 }\n\
                   mean = [0, 0, 0]\nstd = [1, 1, 1]\n";
        assert_eq!(parsed(all).unwrap().unwrap().1.name.unwrap(), "pets");
        for (text, part) in [
            ("nam = \"pets\"", "unknown field"),
            ("name = \"a/b\"", "part of URLs"),
            ("version = \"stable\"", "part of URLs"),
            ("labels = \"../x\"", "a file in the model's folder"),
            ("[input]\nwidth = 0\nheight = 1", "above 0"),
            (&all.replace("std = [1,", "std = [0,"), "standard deviation"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part) && error.contains("model.toml"), "{error}");
        }
    }
}

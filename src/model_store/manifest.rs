//! `manifest.toml`, the description of a version, and `reference_logits.txt`, the version's logits of the synthetic
//! image. That file has one number a line and as many lines as the model has classes.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{StoreError, atomic_fs, printable};
use kiln_inference::model::Model;
use model_import::import::sha256_hex;

pub(super) const FILE: &str = "manifest.toml";
pub(super) const REFERENCE_LOGITS_FILE: &str = "reference_logits.txt";

/// The value of `golden` in the manifest of a version without reference logits.
pub(super) const NO_REFERENCE_LOGITS: &str = "none";

/// The description of a version, without its weights.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The version's name.
    pub version: String,
    /// `sha256:<hex>` of the weights.
    pub weights: String,
    /// `sha256:<hex>` of the ONNX file whose graph the weights are for.
    pub graph: String,
    /// Time of the addition, RFC 3339.
    pub created: String,
    /// Origin of the weights, a text for the operator.
    pub origin: String,
    /// `sha256:<hex>` of the file with the reference logits, or `none`. The key, `golden`, is mandatory: a lost line
    /// would silently disable the check against these logits.
    #[serde(rename = "golden")]
    pub reference_logits: String,
}

impl Manifest {
    /// Returns the time since the addition; `None` if it lies in the future.
    pub fn age(&self) -> Option<Duration> {
        let created = humantime::parse_rfc3339(&self.created).ok()?;
        SystemTime::now().duration_since(created).ok()
    }

    pub(super) fn has_reference_logits(&self) -> bool {
        self.reference_logits != NO_REFERENCE_LOGITS
    }

    /// Returns the current time as `created` has it.
    pub(super) fn now() -> String {
        humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
    }

    /// Returns the content of the file.
    pub(super) fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings can be written as TOML")
    }

    /// Reads the manifest at `path`, which must name `model` and `version`; `None` if there is no file.
    pub(super) fn read(path: &Path, model: &str, version: &str) -> Result<Option<Self>, StoreError> {
        let Some(text) = atomic_fs::read_text(path)? else { return Ok(None) };
        let corrupt = |reason: String| StoreError::CorruptManifest { path: path.to_path_buf(), reason };
        let manifest: Self = toml::from_str(&text).map_err(|error| corrupt(printable(error.message())))?;
        if (manifest.name.as_str(), manifest.version.as_str()) != (model, version) {
            return Err(corrupt(
                "it is the manifest of another model or version; the folder may have been moved".into(),
            ));
        }
        let digests = [("weights", &manifest.weights), ("graph", &manifest.graph)];
        let reference_logits = manifest.has_reference_logits().then_some(("golden", &manifest.reference_logits));
        let all = digests.into_iter().chain(reference_logits);
        let invalid_key = all.filter(|(_, digest)| !is_digest(digest)).map(|(key, _)| key).next();
        match invalid_key {
            Some(key) => {
                Err(corrupt(format!("{key} is no digest; a digest is 'sha256:' and 64 lower-case hexadecimal digits")))
            }
            None => Ok(Some(manifest)),
        }
    }
}

fn is_digest(text: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

/// Returns the content of the file of reference logits.
pub(super) fn reference_logits_text(logits: &[f32]) -> String {
    logits.iter().map(|logit| format!("{logit}\n")).collect()
}

/// Returns `sha256:<hex>` of the content of the file of reference logits.
pub(super) fn reference_logits_digest(text: &str) -> String {
    format!("sha256:{}", sha256_hex(text.as_bytes()))
}

/// Reads the reference logits of a version of `model` from its folder. Their digest must be `expected`.
pub(super) fn read_reference_logits(folder: &Path, model: &Model, expected: &str) -> Result<Box<[f32]>, StoreError> {
    let path = folder.join(REFERENCE_LOGITS_FILE);
    let corrupt = |reason: String| StoreError::CorruptReferenceLogits { path: path.clone(), reason };
    let classes = model.spec().labels.len();
    let text = atomic_fs::read_text(&path)?.ok_or_else(|| corrupt("the file does not exist".to_string()))?;
    let found = reference_logits_digest(&text);
    if found != expected {
        return Err(StoreError::DigestMismatch { path, found, expected: expected.to_string() });
    }
    let logits: Option<Box<[f32]>> =
        text.lines().map(|line| line.trim().parse().ok().filter(|logit: &f32| logit.is_finite())).collect();
    let logits = logits.ok_or_else(|| corrupt("a line is no finite number".to_string()))?;
    if logits.len() != classes {
        return Err(corrupt(format!("it has {} lines, but the model has {classes} classes", logits.len())));
    }
    Ok(logits)
}

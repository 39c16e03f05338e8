//! `manifest.toml`: what a version is, and what its files have to be.

use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{StoreError, disk, golden, shown};

/// What is known of a version without its weights.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The version's own.
    pub version: String,
    /// `sha256:<hex>` of the weights.
    pub weights: String,
    /// `sha256:<hex>` of the ONNX file whose graph they are for.
    pub graph: String,
    /// When it was added, as RFC 3339 has it.
    pub created: String,
    /// Where it comes from, for a person.
    pub origin: String,
    /// `sha256:<hex>` of the file with its logits of the synthetic picture, or `none`. It has to be said: a line that is lost
    /// would end the check that they are for.
    pub golden: String,
}

impl Manifest {
    /// How long ago it was added; nothing where the clock says that it was not yet.
    pub fn age(&self) -> Option<std::time::Duration> {
        let created = humantime::parse_rfc3339(&self.created).ok()?;
        SystemTime::now().duration_since(created).ok()
    }

    pub(super) fn has_golden(&self) -> bool {
        self.golden != golden::NONE
    }

    pub(super) fn now() -> String {
        humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
    }

    /// The text of the file.
    pub(super) fn to_toml(&self) -> String {
        toml::to_string(self).expect("texts have a form in TOML")
    }

    /// That of a version of a model, which it has to name.
    pub(super) fn read(path: &Path, model: &str, version: &str) -> Result<Option<Self>, StoreError> {
        let Some(text) = disk::read_small(path)? else { return Ok(None) };
        let refuse = |reason: String| StoreError::Manifest { path: path.to_path_buf(), reason };
        let manifest: Self = toml::from_str(&text).map_err(|error| refuse(shown(error.message())))?;
        if (manifest.name.as_str(), manifest.version.as_str()) != (model, version) {
            return Err(refuse("it is that of another model or version; was the folder moved?".to_string()));
        }
        let digests = [("weights", &manifest.weights), ("graph", &manifest.graph)];
        let golden = manifest.has_golden().then_some(("golden", &manifest.golden));
        let wrong = digests.into_iter().chain(golden).find(|(_, digest)| !is_digest(digest)).map(|(key, _)| key);
        match wrong {
            Some(key) => Err(refuse(format!("{key} is no digest, which is 'sha256:' and 64 hexadecimal digits"))),
            None => Ok(Some(manifest)),
        }
    }
}

fn is_digest(text: &str) -> bool {
    let is_hex = |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.strip_prefix("sha256:").is_some_and(is_hex)
}

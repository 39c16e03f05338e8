//! `reference_logits.txt`: a version's logits of the synthetic picture, one number a line, as many as there are classes.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{StoreError, disk};
use kiln_inference::model::Model;

pub(super) const FILE: &str = "reference_logits.txt";

/// What a manifest says where there is no such file.
pub(super) const NONE: &str = "none";

/// The file's text.
pub(super) fn text(logits: &[f32]) -> String {
    logits.iter().map(|logit| format!("{logit}\n")).collect()
}

/// `sha256:<hex>` of the file's text.
pub(super) fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Those of a version of `model`, whose folder it is, if they are still what `expected` says.
pub(super) fn read(folder: &Path, model: &Model, expected: &str) -> Result<Box<[f32]>, StoreError> {
    let path = folder.join(FILE);
    let refuse = |reason: String| StoreError::Golden { path: path.clone(), reason };
    let classes = model.spec().labels.len();
    let text = disk::read_small(&path)?.ok_or_else(|| refuse("it is not there".to_string()))?;
    let found = digest(&text);
    if found != expected {
        return Err(StoreError::Digest { path, found, expected: expected.to_string() });
    }
    let logits: Option<Box<[f32]>> =
        text.lines().map(|line| line.trim().parse().ok().filter(|logit: &f32| logit.is_finite())).collect();
    let logits = logits.ok_or_else(|| refuse("a line of it is no number".to_string()))?;
    if logits.len() != classes {
        return Err(refuse(format!("it has {} lines, and the model {classes} classes", logits.len())));
    }
    Ok(logits)
}

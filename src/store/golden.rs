//! `golden.txt`: a version's logits of the synthetic picture, one number a line, as many as there are classes.

use std::path::Path;

use super::{StoreError, disk};
use crate::model::Model;

pub(super) const FILE: &str = "golden.txt";

/// The file's text.
pub(super) fn text(logits: &[f32]) -> String {
    logits.iter().map(|logit| format!("{logit}\n")).collect()
}

/// Those of a version of `model`, whose folder it is.
pub(super) fn read(folder: &Path, model: &Model) -> Result<Box<[f32]>, StoreError> {
    let path = folder.join(FILE);
    let refuse = |reason: String| StoreError::Golden { path: path.clone(), reason };
    let classes = model.spec().labels.len();
    let text = disk::read_small(&path)?.ok_or_else(|| refuse("it is not there".to_string()))?;
    let logits: Option<Box<[f32]>> =
        text.lines().map(|line| line.trim().parse().ok().filter(|logit: &f32| logit.is_finite())).collect();
    let logits = logits.ok_or_else(|| refuse("a line of it is no number".to_string()))?;
    if logits.len() != classes {
        return Err(refuse(format!("it has {} lines, and the model {classes} classes", logits.len())));
    }
    Ok(logits)
}

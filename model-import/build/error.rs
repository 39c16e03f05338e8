//! Why a model is refused at build time, each with the next step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A model that cannot be built in.
#[derive(Debug)]
pub enum Refusal {
    /// A file of the model could not be read.
    Unreadable { path: PathBuf, reason: String },
    /// There is no model at all.
    NoModels { directory: PathBuf },
    /// The manifest does not say what it must.
    Manifest { path: PathBuf, reason: String },
    /// The ONNX file is not the one that the manifest names.
    Digest { path: PathBuf, expected: String, actual: String },
    /// The graph does not fit the manifest, or is no classifier that Kiln can serve.
    Graph { model: String, reason: String },
    /// burn-onnx cannot import the graph.
    Import { model: String, reason: String },
}

impl Refusal {
    /// Does what looks into a model's graph: the importer's only way to refuse some of them is a panic.
    pub fn catch<T, E: From<Self>>(model: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        // Nothing that is seen afterwards is left half done: what `work` makes goes with it.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let reason =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the importer gave no reason");
            Err(Self::Import { model: model.to_string(), reason: reason.to_string() }.into())
        })
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { path, reason } => write!(
                f,
                "cannot read {}: {reason}. Check that the file is there and is named in model.toml.",
                path.display()
            ),
            Self::NoModels { directory } => write!(
                f,
                "no model found: {} holds no folder with a model.toml. Add one, as docs/models.md shows under 'Swap the model'.",
                directory.display()
            ),
            Self::Manifest { path, reason } => {
                write!(f, "{} is not a valid manifest: {reason}", path.display())
            }
            Self::Digest { path, expected, actual } => write!(
                f,
                "{} has sha256 {actual}, but model.toml expects {expected}. \
                 Restore the file, or, if you changed it on purpose, put the new sha256 into model.toml.",
                path.display()
            ),
            Self::Graph { model, reason } => write!(f, "model '{model}': {reason}"),
            Self::Import { model, reason } => write!(
                f,
                "model '{model}' cannot be imported: {reason}. \
                 Export it again with only operators that burn-onnx supports (its SUPPORTED-ONNX-OPS.md lists them), \
                 constants folded and opset 17 or newer, or take it out of model-import/models."
            ),
        }
    }
}

impl std::error::Error for Refusal {}

//! Errors of reading and checking a model. Each message names the next step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A model that cannot be built in.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the model cannot be read or written.
    #[error("cannot read {}: {reason}. Check that the file is there and is named in model.toml.", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// A folder of models holds no model.
    #[error(
        "no model found: {} holds no folder with a model.toml. Add one, as docs/models.md shows under 'Import a model'.",
        directory.display()
    )]
    NoModels {
        /// The folder.
        directory: PathBuf,
    },
    /// The manifest, or a file that it names, is invalid.
    #[error("{} is not a valid manifest: {reason}", path.display())]
    Manifest {
        /// The manifest, or the file that it names.
        path: PathBuf,
        /// The key or line, and what it must be.
        reason: String,
    },
    /// The ONNX file has another digest than the manifest.
    #[error(
        "{} has sha256 {actual}, but model.toml expects {expected}. Restore the file. If you changed it on purpose, put the new \
         sha256 into model.toml.",
        path.display()
    )]
    Digest {
        /// The ONNX file.
        path: PathBuf,
        /// SHA-256 in the manifest, in hex.
        expected: String,
        /// SHA-256 of the file, in hex.
        actual: String,
    },
    /// The graph does not fit the manifest, or is not a classifier that Kiln can serve.
    #[error("model '{model}': {reason}")]
    Graph {
        /// The model's name.
        model: String,
        /// What does not fit, and the next step.
        reason: String,
    },
    /// The importer does not support the graph.
    #[error(
        "model '{model}' cannot be imported: {reason}. Export it again with only operators that burn-onnx supports (its \
         SUPPORTED-ONNX-OPS.md lists them), or take it out of model-import/models and serve the file at start: 'kiln serve FILE' \
         supports more operators and needs no build."
    )]
    Import {
        /// The model's name.
        model: String,
        /// The importer's message.
        reason: String,
    },
}

impl ModelError {
    /// Runs `work`, and returns [`ModelError::Import`] if it panics: onnx-ir and burn-onnx reject some graphs only by a panic.
    ///
    /// # Errors
    ///
    /// The error of `work`, or the message of its panic.
    pub fn catch_panic<T, E: From<Self>>(model: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        // After a panic nothing that `work` created is reachable, so no half-written state is visible.
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let reason =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the importer gave no reason");
            Err(Self::Import { model: model.to_string(), reason: reason.to_string() }.into())
        })
    }
}

/// Removes the name of a node from an error of onnx-ir, which replaces the names of the file by its own.
#[cfg(feature = "import")]
pub(crate) fn without_node_name(error: &str) -> String {
    let parts = || {
        let (before, rest) = error.split_once("Node '")?;
        let (_, rest) = rest.split_once("' (")?;
        let (operator, reason) = rest.split_once("): ")?;
        Some(format!("{before}{operator}: {reason}"))
    };
    parts().unwrap_or_else(|| error.to_string())
}

#[cfg(all(test, feature = "import"))]
mod tests {
    use super::*;

    #[test]
    fn names_that_onnx_ir_gives_to_nodes_are_removed() {
        let error = "Type inference failed: Node 'averagepool2d1' (AveragePool2d): ceil_mode requires opset 19+";
        assert_eq!(without_node_name(error), "Type inference failed: AveragePool2d: ceil_mode requires opset 19+");
        assert_eq!(without_node_name("Unsupported opset version"), "Unsupported opset version");
    }
}

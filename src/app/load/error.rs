//! Why a device or a model is not loaded. Each message names the next step.

use std::path::PathBuf;

use kiln_classifier::batching;
use kiln_image::PoolStartError;
use kiln_inference::model_file::ModelFileError;
use kiln_inference::{DeviceError, PrecisionError, StartError};

use crate::model_store::StoreError;
use crate::shell::models_command;

/// The error of loading a device or a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A device is not available.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Two names of `--device` mean the same device.
    #[error("--device names {0} twice; remove one of them. 'kiln devices' lists the devices.")]
    Twice(String),
    /// The device does not support the precision.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A model does not run on the device.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// A model file cannot be served.
    #[error(transparent)]
    ModelFile(#[from] ModelFileError),
    /// Two models have the same name.
    #[error("two models have the name '{0}'. Rename a file, or set 'name' in the model.toml beside it.")]
    SameName(String),
    /// There is no model with the name of `--model`.
    #[error("--model '{name}' is unknown; it must be one of {known}.")]
    UnknownModel {
        /// The name.
        name: String,
        /// The known names.
        known: String,
    },
    /// A file of the model repository cannot be read.
    #[error("cannot read {}: {reason}. Check that the server may read it.", path.display())]
    RepositoryFile {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        reason: std::io::Error,
    },
    /// No model of the model repository loads.
    #[error("no model of --models {} can be served:\n{reasons}", folder.display())]
    Repository {
        /// The folder.
        folder: PathBuf,
        /// One line for each version or model.
        reasons: String,
    },
    /// The model store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stable version of a model cannot be used. No other version replaces it.
    #[error(
        "model '{model}' is not served: its stable version '{version}' cannot be used: {reason}. Choose another version with \
         '{}' or '{}'.",
        models_command(&format!("rollback {model}"), store),
        models_command(&format!("promote {model} VERSION"), store)
    )]
    Stable {
        /// Name of the model.
        model: String,
        /// Name of the version.
        version: String,
        /// Why the version cannot be used.
        reason: String,
        /// Folder of the model store.
        store: PathBuf,
    },
    /// The operating system refuses a thread for an engine.
    #[error("{0}. Raise the limit on threads: 'ulimit -u', or the limit on processes of the container.")]
    EngineThread(#[from] batching::StartError),
    /// The operating system refuses the threads that decode images.
    #[error(
        "{0}. Lower --decode-threads, or raise the limit on threads: 'ulimit -u', or the limit on processes of the container."
    )]
    DecodeThreads(#[from] PoolStartError),
    /// A driver or a device runtime panicked.
    #[error(
        "the device runtime panicked while the models were loaded: {0}. Try another --device; 'kiln devices' lists them."
    )]
    Panicked(String),
}

/// Reports that a command needs a model store and none is configured.
#[derive(Debug, thiserror::Error)]
#[error("no model store; set --model-store or KILN_MODEL_STORE to its folder, which is created if it does not exist")]
pub struct NoStore;

//! Why fine-tuning fails.

use std::path::PathBuf;

use model_import::HeadError;

use kiln_inference::{Difference, EngineError, StartError};

/// Why fine-tuning failed.
#[derive(Debug, thiserror::Error)]
pub enum FinetuneError {
    /// The folder is not a feedback export.
    #[error("cannot read {}: {reason}. --from-feedback takes the folder that 'kiln feedback export' wrote.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        reason: String,
    },
    /// A line of the export is invalid.
    #[error("line {line} of {} is invalid: {reason}. Use the file as 'kiln feedback export' wrote it.", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// The cause.
        reason: String,
    },
    /// The export has no labelled images.
    #[error(
        "no image has a true class: {0}. Start the server with --image-sample-percent and send the true classes to POST /feedback."
    )]
    NoImages(String),
    /// There are too few images to hold any out.
    #[error(
        "none of the {images} images of {classes} classes can be held out for the evaluation: --held-out takes that fraction of the \
         images and leaves at least one of each class for training. Collect more feedback, or use --force to train on all \
         images without an evaluation."
    )]
    NothingHeldOut {
        /// Number of distinct images.
        images: usize,
        /// Number of their classes.
        classes: usize,
    },
    /// The model was read from a file.
    #[error("the model cannot be fine-tuned: it was read from a file. Add it to the program with 'kiln import' first.")]
    NotBuiltIn,
    /// The model has no head of a supported kind.
    #[error("the model cannot be fine-tuned: {0}")]
    Head(#[from] HeadError),
    /// The layer that was found is not the last layer.
    #[error(
        "the model cannot be fine-tuned: another layer follows the one that looks like the last, because that one does not \
         compute the model's logits ({0})"
    )]
    NotTheLast(Difference),
    /// The network cannot be started on the device.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The device failed while it computed features.
    #[error("cannot compute the features: {0}")]
    Engine(#[from] EngineError),
    /// The loss is not finite.
    #[error("training diverged in epoch {epoch}; use a smaller --learning-rate")]
    Diverged {
        /// Number of the epoch, from 1.
        epoch: usize,
    },
    /// A tensor cannot be read back from the device.
    #[error("cannot read a tensor from the device: {0}")]
    Device(String),
}

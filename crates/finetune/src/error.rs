//! What can go wrong when a head is trained.

use std::path::PathBuf;

use model_import::HeadError;

use kiln_inference::{Difference, EngineError, StartError};

/// Why nothing was trained.
#[derive(Debug, thiserror::Error)]
pub enum FinetuneError {
    /// The folder is no export.
    #[error("cannot read {}: {reason}. --from-feedback takes the folder that 'kiln feedback export' wrote.", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A line of it is not as it must be.
    #[error("line {line} of {} is not what 'kiln feedback export' writes: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("no picture has a right class: {0}. Answers with POST /feedback first, with pictures kept.")]
    NoPictures(String),
    /// There are too few pictures to keep any apart.
    #[error(
        "none of the {pictures} pictures, of {classes} classes, can be held out to judge by: --held-out takes that part of them, \
         and leaves each class one to train on. Collect more feedback, or say --force to train on all of them and judge by none."
    )]
    NothingHeldOut {
        /// Pictures that differ.
        pictures: usize,
        /// Their classes.
        classes: usize,
    },
    /// The model has no head that is known.
    #[error("the model cannot be fine-tuned: {0}")]
    Head(#[from] HeadError),
    /// The layer that was found is not the last one.
    #[error(
        "the model cannot be fine-tuned: the layer that looks like its last one does not give its logits ({0}), so \
         something follows it."
    )]
    NotTheLast(Difference),
    /// The network does not come up.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The device failed on the way.
    #[error("the features cannot be computed: {0}")]
    Engine(#[from] EngineError),
    /// The descent left the numbers.
    #[error("training diverged in epoch {epoch}. Take a smaller --learning-rate.")]
    Diverged {
        /// Counted from 1.
        epoch: usize,
    },
    /// A device does not hand its numbers back.
    #[error("the device does not answer: {0}")]
    Device(String),
}

//! Fine-tuning: trains the last layer of a model on images with corrected labels; all other layers stay as they are.
//!
//! With frozen features this is a softmax regression. It is convex and its gradient is known in closed form, so plain tensors of
//! Burn are enough. The feature `autodiff`, which would compile all of Burn a second time, is not needed, and the command adds
//! no dependency to the build.
#![forbid(unsafe_code)]

mod dataset;
mod error;
mod evaluation;
mod export;
mod features;
mod images;
mod split;
mod train;

pub use error::FinetuneError;
pub use evaluation::Evaluation;
pub use export::{FeedbackExport, LabelledFile, SkippedLines, read_export};
pub use features::{FeatureExtractor, Features};
pub use images::{Deduplicated, LabelledImage, preprocess_files};
pub use split::{Split, split};
pub use train::{EpochReport, FinetuneOptions, FinetuneResult, finetune_head};

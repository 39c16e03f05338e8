//! Records predictions, feedback on them and sampled images in one folder, and reports accuracy, calibration and drift.
//!
//! No async thread waits for a disk. A writer thread writes all queued messages in one transaction. Recording a prediction never
//! blocks; feedback is acknowledged after its commit.
#![forbid(unsafe_code)]

mod config;
mod database;
mod drift;
mod error;
mod image_files;
mod image_store;
mod private_fs;
mod queue;
mod reader;
mod record;
mod recorder;
mod report;
mod schema;
mod store;
mod summary;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{Config, ParsePercentageError, Percentage};
pub use error::{FeedbackError, OpenError, ReadError};
pub use image_files::{IMAGE_FOLDER, StoredImage};
pub use reader::{Reader, RecordedModel};
pub use record::{
    Feedback, FeedbackKind, Label, LabelledPrediction, MAX_NOTE, ModelIdentity, PredictionRecord, Receipt,
};
pub use recorder::Recorder;
pub use report::{ModelFeedback, report_page};
pub use store::FeedbackStore;
pub use summary::{Calibration, CalibrationBin, ClassCount, Confusion, Summary};

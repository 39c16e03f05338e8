//! The `Engine` trait that the batcher drives: samples in, logits out. It does not depend on Burn, so tests implement it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kiln_image::{CropRegion, PreprocessedImage};

use super::ranking::ScoredClass;
use model_import::panic_message;

/// One row of a batch.
#[derive(Clone, Debug)]
pub enum Sample {
    /// An image of the model's input size, which the engine normalises.
    Image(PreprocessedImage),
    /// A region of an image that the engine resizes and normalises, if it supports that
    /// ([`super::BurnEngine::max_crop_bytes`]).
    CropRegion(CropRegion),
    /// The network's input, preprocessed by the client: f32 `[3, height, width]`, laid out flat.
    Tensor(Box<[f32]>),
}

impl From<PreprocessedImage> for Sample {
    fn from(image: PreprocessedImage) -> Self {
        Self::Image(image)
    }
}

impl From<CropRegion> for Sample {
    fn from(region: CropRegion) -> Self {
        Self::CropRegion(region)
    }
}

/// The scores of one sample. Scores that are not finite come from a faulty device, which often reports no error, from corrupt
/// weights, or from a client's tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The logits of all classes.
    Logits(Logits),
    /// The most probable classes, most probable first.
    TopK(Vec<ScoredClass>),
}

impl Output {
    /// Returns true if no score is infinite or NaN.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Logits(logits) => logits.iter().all(|logit| logit.is_finite()),
            Self::TopK(classes) => classes.iter().all(|class| class.probability.is_finite()),
        }
    }
}

/// The raw scores of one sample, f32, one per class in index order.
pub type Logits = Box<[f32]>;

/// A network on a device. One thread owns it.
pub trait Engine: Send + 'static {
    /// Runs one batch. Returns one row per sample, in order.
    ///
    /// # Errors
    ///
    /// The device failed. Then no row of the batch is valid.
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError>;

    /// Runs one batch. If the engine finds the `top_k` most probable classes faster than it returns logits, it returns only
    /// these. By default it returns logits.
    ///
    /// # Errors
    ///
    /// The errors of [`Engine::run`].
    fn run_top_k(&mut self, batch: &[Sample], top_k: usize) -> Result<Vec<Output>, EngineError> {
        let _ = top_k;
        Ok(self.run(batch)?.into_iter().map(Output::Logits).collect())
    }

    /// Returns the number of padding rows, if the engine only runs some batch sizes. By default zero.
    fn padding(&self, batch: &[Sample]) -> usize {
        let _ = batch;
        0
    }

    /// Returns the device's name and the bytes that its allocator holds, if the device reports them. By default `None`.
    fn memory(&self) -> Option<(String, u64)> {
        None
    }

    /// Runs the self-test. The batcher calls it when the engine is idle, and when the scores of a batch are not finite. By
    /// default it passes.
    ///
    /// # Errors
    ///
    /// The self-test failed.
    fn self_test(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Rebuilds the engine after an error or a panic. It is ready for the next batch when this returns, which may take
    /// seconds.
    ///
    /// # Errors
    ///
    /// The engine cannot be rebuilt and must not be used again. This is the default.
    fn rebuild(&mut self) -> Result<(), EngineError> {
        Err(EngineError::Device("this engine cannot be rebuilt".to_string()))
    }
}

/// Why a batch has no result. The fault is never the client's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The device failed on this batch.
    #[error("the device failed: {0}")]
    Device(String),
    /// The engine panicked with this message.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

impl EngineError {
    /// Shortens the runtime's report to one line: the first error and its root cause. The lines between them name each kernel
    /// that did not run, which does not help.
    pub(super) fn device(report: &dyn std::fmt::Display) -> Self {
        let report = report.to_string();
        let is_noise = |line: &&str| {
            let noise = ["Caused by:", "Asked at:", "No backtrace available", "skipped `", "("];
            line.is_empty() || noise.iter().any(|start| line.starts_with(start))
        };
        let mut lines = report.lines().map(str::trim).filter(|line| !is_noise(line));
        let first = lines.next().unwrap_or("the runtime reports no reason");
        Self::Device(lines.next_back().map_or_else(|| first.to_string(), |last| format!("{first}: {last}")))
    }
}

/// Runs `work`, and turns a panic into an error. An engine that panicked must be rebuilt before it is used again.
///
/// # Errors
///
/// The error of `work`, or [`EngineError::Panicked`].
pub fn catch_panic<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_report_is_shortened_to_error_and_root_cause() {
        let report = "An error happened\nCaused by:\n  Several failures\n  skipped `Program`: it needed memory\n  (32 older)\n\
                      Caused by:\n  can't allocate 3 bytes\nNo backtrace available\nAsked at:\nNo backtrace available";
        let error = EngineError::device(&report);
        assert_eq!(error.to_string(), "the device failed: An error happened: can't allocate 3 bytes");
        assert_eq!(EngineError::device(&"lost").to_string(), "the device failed: lost");
    }
}

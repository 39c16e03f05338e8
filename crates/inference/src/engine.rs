//! The engine that batching drives: samples in, logits out. No Burn in sight, so tests can bring their own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ranking::Ranked;
use kiln_image::{CropRegion, PreprocessedImage};

/// One row of what an engine takes.
#[derive(Clone, Debug)]
pub enum Sample {
    /// A picture of the model's size, which the engine normalises.
    Picture(PreprocessedImage),
    /// A part of a picture that the engine resizes by itself and normalises; for engines that do
    /// ([`super::BurnEngine::largest_cutout`]).
    CropRegion(CropRegion),
    /// What the network takes, as a client prepared it: f32 `[3, height, width]`, laid out flat.
    Tensor(Box<[f32]>),
}

impl From<PreprocessedImage> for Sample {
    fn from(picture: PreprocessedImage) -> Self {
        Self::Picture(picture)
    }
}

impl From<CropRegion> for Sample {
    fn from(cutout: CropRegion) -> Self {
        Self::CropRegion(cutout)
    }
}

/// What is known of one picture's scores. A sick device computes scores that are not finite sooner than it tells an error;
/// weights may do so as well, and of course a client's own tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// All of them.
    Logits(Logits),
    /// The most probable classes alone, most probable first.
    Ranked(Vec<Ranked>),
}

impl Output {
    /// Whether each score is a number that is neither infinite nor NaN.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Logits(logits) => logits.iter().all(|logit| logit.is_finite()),
            Self::Ranked(ranked) => ranked.iter().all(|ranked| ranked.probability.is_finite()),
        }
    }
}

/// Raw scores of one picture, f32, one a class in index order.
pub type Logits = Box<[f32]>;

/// A network on a device. Exactly one thread owns it.
pub trait Engine: Send + 'static {
    /// Runs one batch: the answer has one row a picture, in order.
    ///
    /// # Errors
    ///
    /// The device failed; no row of the batch may be used.
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError>;

    /// Runs one batch and gives back no more than the `top` most probable classes of each picture, if the engine has a way
    /// to find them that is quicker than to hand out the logits. By default it has none.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::run`].
    fn run_ranked(&mut self, batch: &[Sample], top: usize) -> Result<Vec<Output>, EngineError> {
        let _ = top;
        Ok(self.run(batch)?.into_iter().map(Output::Logits).collect())
    }

    /// Rows that it computes beyond those of `batch`, because it only runs batches of some sizes. By default none.
    fn padding(&self, batch: &[Sample]) -> usize {
        let _ = batch;
        0
    }

    /// The name of its device and how many bytes the allocator there holds, if it tells. By default it does not.
    fn memory(&self) -> Option<(String, u64)> {
        None
    }

    /// Finds out whether it still computes rightly; called when there is nothing else to do, and when the scores of a batch are no
    /// numbers. By default it does.
    ///
    /// # Errors
    ///
    /// What is wrong.
    fn check(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Makes itself anew after it has failed or panicked, and is ready for the next batch when it returns. May take
    /// seconds.
    ///
    /// # Errors
    ///
    /// It cannot, which is the default; the engine must not be used any more.
    fn rebuild(&mut self) -> Result<(), EngineError> {
        Err(EngineError::Device("this engine cannot be replaced".to_string()))
    }
}

/// Why a batch has no answer. The fault is never the client's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The device failed on this batch.
    #[error("the device failed: {0}")]
    Device(String),
    /// The engine panicked; the text is the panic's.
    #[error("the engine panicked: {0}")]
    Panicked(String),
}

impl EngineError {
    /// The runtime's report in one line: what happened first and what lies at the bottom of it. Such a report names each
    /// kernel that did not run in between, which is for nobody.
    pub(super) fn device(report: &dyn std::fmt::Display) -> Self {
        let report = report.to_string();
        let is_noise = |line: &&str| {
            let between = ["Caused by:", "Asked at:", "No backtrace available", "skipped `", "("];
            line.is_empty() || between.iter().any(|start| line.starts_with(start))
        };
        let mut lines = report.lines().map(str::trim).filter(|line| !is_noise(line));
        let first = lines.next().unwrap_or("the runtime does not say why");
        Self::Device(lines.next_back().map_or_else(|| first.to_string(), |last| format!("{first}: {last}")))
    }
}

/// Makes a panic an error like any other. Whatever panicked has to be replaced before it is used again.
///
/// # Errors
///
/// That of the work, or [`EngineError::Panicked`].
pub fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    let outcome = catch_unwind(AssertUnwindSafe(work));
    outcome.unwrap_or_else(|panic| Err(EngineError::Panicked(panic_message(&*panic))))
}

/// What a panic said, as far as it was text.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_a_sentence_with_its_cause() {
        let report = "An error happened\nCaused by:\n  Several failures\n  skipped `Program`: it needed memory\n  (32 older)\n\
                      Caused by:\n  can't allocate 3 bytes\nNo backtrace available\nAsked at:\nNo backtrace available";
        let error = EngineError::device(&report);
        assert_eq!(error.to_string(), "the device failed: An error happened: can't allocate 3 bytes");
        assert_eq!(EngineError::device(&"lost").to_string(), "the device failed: lost");
    }
}

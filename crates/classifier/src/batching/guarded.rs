//! An engine whose troubles are errors: it neither panics nor gives out a wrong number of rows.

use super::batch::Batch;
use kiln_inference::{Engine, EngineError, Output, Sample, caught};

/// The engine. After an error it has to be replaced before it is used again.
pub(super) struct Guarded(Box<dyn Engine>);

impl Guarded {
    pub(super) fn new(engine: Box<dyn Engine>) -> Self {
        Self(engine)
    }

    /// A row for each picture, in order.
    pub(super) fn run(&mut self, batch: &Batch) -> Result<Vec<Output>, EngineError> {
        let rows = caught(|| match batch.top_k() {
            Some(top) => self.0.run_ranked(batch.samples(), top),
            None => Ok(self.0.run(batch.samples())?.into_iter().map(Output::Logits).collect()),
        })?;
        if rows.len() == batch.len() {
            return Ok(rows);
        }
        Err(EngineError::Device(format!("the engine returned {} rows for {} pictures", rows.len(), batch.len())))
    }

    /// Whether it still computes rightly.
    pub(super) fn check(&mut self) -> Result<(), EngineError> {
        caught(|| self.0.check())
    }

    /// Has it make itself anew.
    pub(super) fn rebuild(&mut self) -> Result<(), EngineError> {
        caught(|| self.0.rebuild())
    }

    /// Rows that it computes beyond those of the samples. If it panics at that, it fails at the batch, where that is handled.
    pub(super) fn padding(&self, samples: &[Sample]) -> usize {
        caught(|| Ok(self.0.padding(samples))).unwrap_or_default()
    }

    /// Its device and the memory that it has, if it tells.
    pub(super) fn memory(&self) -> Option<(String, u64)> {
        caught(|| Ok(self.0.memory())).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_inference::Logits;

    struct OnFire;

    impl Engine for OnFire {
        fn run(&mut self, _batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
            panic!("run")
        }

        fn padding(&self, _batch: &[Sample]) -> usize {
            panic!("padding")
        }

        fn memory(&self) -> Option<(String, u64)> {
            panic!("memory")
        }

        fn check(&mut self) -> Result<(), EngineError> {
            panic!("check")
        }

        fn rebuild(&mut self) -> Result<(), EngineError> {
            panic!("rebuild")
        }
    }

    #[test]
    fn whatever_panics_is_an_error_or_goes_untold() {
        let mut engine = Guarded::new(Box::new(OnFire));
        let panicked = |what: &str| EngineError::Panicked(what.to_string());
        let nobody = Batch::new(Vec::new(), tokio::time::Instant::now());
        assert_eq!(engine.run(&nobody), Err(panicked("run")));
        assert_eq!((engine.check(), engine.rebuild()), (Err(panicked("check")), Err(panicked("rebuild"))));
        assert_eq!((engine.padding(&[]), engine.memory()), (0, None));
    }
}

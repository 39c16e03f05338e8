//! Samples through the network: upload, normalise, run, download. On the CPU a batch is shared out among threads.

use std::sync::OnceLock;

use burn::tensor::{DType, Tensor};

use super::burn_engine::BurnEngine;
use super::engine::{EngineError, Logits, Output, Sample};
use super::lanes;
use super::ranking::Ranked;

impl BurnEngine {
    /// Runs samples of one kind, on as many threads as there are for it.
    pub(super) fn shared(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        if !self.on_cpu {
            return self.forward(samples);
        }
        self.device.cpu.enter(|| self.run_on_threads(samples))
    }

    /// Runs samples of one kind on the CPU, in the context that this thread has entered.
    fn run_on_threads(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        let cpu = &self.device.cpu;
        let (apart, together) = lanes::plan(samples.len(), cpu.available_threads());
        let parts: Vec<OnceLock<Result<Vec<Logits>, EngineError>>> = apart.iter().map(|_| OnceLock::new()).collect();
        cpu.run(apart.len(), |part| {
            parts[part].get_or_init(|| self.forward(&samples[apart[part].clone()]));
        });
        let mut rows = Vec::with_capacity(samples.len());
        for part in parts {
            rows.extend(part.into_inner().expect("every part was run")?);
        }
        if !together.is_empty() {
            rows.extend(self.forward(&samples[together])?);
        }
        Ok(rows)
    }

    /// Runs some samples of one kind, on this thread and, where it may share, on others.
    fn forward(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        let logits = self.logits(samples)?;
        let logits = logits.try_into_data_dtype(DType::F32).map_err(|e| EngineError::device(&e))?;
        let values = logits.as_slice::<f32>().map_err(|e| EngineError::device(&e))?;
        Ok(values.chunks_exact(self.model.spec().labels.len()).take(samples.len()).map(Logits::from).collect())
    }

    /// The same on the device alone: no more than the ranks come back.
    pub(super) fn forward_ranked(&self, samples: &[&Sample], top: usize) -> Result<Vec<Output>, EngineError> {
        let top = top.min(self.model.spec().labels.len());
        let rows = kiln_kernels::top_k(self.logits(samples)?, top).map_err(|e| EngineError::device(&e))?;
        let ranked = |(probability, class_id)| Ranked { class_id, probability };
        let output = |row: Vec<(f32, usize)>| Output::Ranked(row.into_iter().map(ranked).collect());
        Ok(rows.into_iter().take(samples.len()).map(output).collect())
    }

    /// Logits on the device, `[batch, classes]`; rows beyond the samples are padding.
    fn logits(&self, samples: &[&Sample]) -> Result<Tensor<2>, EngineError> {
        let size = self.sizes.padded(samples.len());
        let logits = self.kernels.scope(|| self.network.forward(self.input.tensor(samples, size)));
        let classes = self.model.spec().labels.len();
        if logits.dims() == [size, classes] {
            return Ok(logits);
        }
        let reason = format!("{:?} logits for {size} pictures of {classes} classes", logits.dims());
        Err(EngineError::Device(reason))
    }
}

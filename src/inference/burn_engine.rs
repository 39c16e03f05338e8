//! The engine on Burn: one upload of u8 pixels, normalisation and network on the device, one download of logits.

use std::time::{Duration, Instant};

use burn::tensor::{DType, Device};
use kiln_kernels::{Kernels, Normalizer};
use model_import::{LoadError, Network};

use super::batch_sizes::BatchSizes;
use super::device::ChosenDevice;
use super::engine::{Engine, EngineError, Logits};
use crate::image::PreparedImage;
use crate::model::Model;

/// A model on a device, warmed up.
pub struct BurnEngine {
    network: Box<dyn Network>,
    normalizer: Normalizer,
    device: Device,
    sizes: BatchSizes,
    width: usize,
    height: usize,
    classes: usize,
    /// Pixels of one batch, kept to be filled again.
    pixels: Vec<u8>,
}

/// Why an engine does not start. The process must not either.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The weights do not fit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device cannot run the model.
    #[error("model '{model}' does not run on {device}: {reason}. Try another --device; 'kiln devices' lists them.")]
    WarmUp {
        /// The model's name.
        model: &'static str,
        /// The device's name.
        device: String,
        /// What the device said.
        reason: String,
    },
}

impl BurnEngine {
    /// Puts `model` on `device` and runs the batch sizes that need it once, so that no request pays for first-use work.
    ///
    /// `progress` is told each batch size and how long it took.
    ///
    /// # Errors
    ///
    /// The weights do not load, or the device fails on a batch.
    pub fn start(
        model: Model,
        device: &ChosenDevice,
        max_batch_size: usize,
        mut progress: impl FnMut(usize, Duration),
    ) -> Result<Self, StartError> {
        let spec = model.spec();
        let kernels = Kernels::best_for(&device.device);
        let mut engine = Self {
            network: model.built_in().load(&device.device)?,
            normalizer: Normalizer::new(&device.device, kernels, spec.mean, spec.std),
            device: device.device.clone(),
            sizes: if device.is_gpu_runtime {
                BatchSizes::powers_of_two(max_batch_size)
            } else {
                BatchSizes::every(max_batch_size)
            },
            width: spec.width as usize,
            height: spec.height as usize,
            classes: spec.labels.len(),
            pixels: Vec::new(),
        };
        for size in engine.sizes.to_warm_up() {
            let started = Instant::now();
            engine.warm_up(size).map_err(|reason| StartError::WarmUp {
                model: spec.name,
                device: device.info.name.clone(),
                reason,
            })?;
            progress(size, started.elapsed());
        }
        Ok(engine)
    }

    /// Runs mid-grey pictures. A panic of the device runtime is a reason like any other.
    fn warm_up(&mut self, size: usize) -> Result<(), String> {
        let grey = vec![127; self.width * self.height * 3];
        let picture = PreparedImage::new(self.width as u32, self.height as u32, grey.into());
        let batch = vec![picture; size];
        let run = std::panic::AssertUnwindSafe(|| self.run(&batch));
        match std::panic::catch_unwind(run) {
            Ok(answer) => answer.map(drop).map_err(|e| e.to_string()),
            Err(_) => Err("the device runtime panicked; its message stands above".to_string()),
        }
    }

    fn split(&self, values: &[f32], pictures: usize) -> Result<Vec<Logits>, EngineError> {
        let rows: Vec<Logits> = values.chunks_exact(self.classes).take(pictures).map(Logits::from).collect();
        // A sick device answers with rubbish sooner than with an error.
        if rows.iter().any(|row| row.iter().any(|value| !value.is_finite())) {
            return Err(EngineError::Device("the logits are not finite".to_string()));
        }
        Ok(rows)
    }
}

impl Engine for BurnEngine {
    fn run(&mut self, batch: &[PreparedImage]) -> Result<Vec<Logits>, EngineError> {
        let picture_bytes = self.width * self.height * 3;
        let size = self.sizes.padded(batch.len());
        self.pixels.clear();
        for picture in batch {
            self.pixels.extend_from_slice(picture.pixels());
        }
        self.pixels.resize(size * picture_bytes, 0);
        let input = self.normalizer.run(&self.pixels, size, self.height, self.width, self.network.layout());
        let logits = self.network.forward(input);
        if logits.dims() != [size, self.classes] {
            let reason = format!("{:?} logits for {size} pictures of {} classes", logits.dims(), self.classes);
            return Err(EngineError::Device(reason));
        }
        let logits = logits.try_into_data_dtype(DType::F32).map_err(|e| EngineError::Device(e.to_string()))?;
        let values = logits.as_slice::<f32>().map_err(|e| EngineError::Device(e.to_string()))?;
        self.split(values, batch.len())
    }
}

impl std::fmt::Debug for BurnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnEngine").field("device", &self.device).finish_non_exhaustive()
    }
}

//! The engine on Burn: one upload of u8 pixels, normalisation and network on the device, one download of logits.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use burn::tensor::{DType, Device};
use kiln_kernels::cpu::threads;
use kiln_kernels::{Kernels, Normalizer};
use model_import::{LoadError, Network};

use super::batch_sizes::BatchSizes;
use super::device::ChosenDevice;
use super::engine::{Engine, EngineError, Logits};
use super::lanes;
use crate::image::PreparedImage;
use crate::model::Model;

/// A model on a device, warmed up. Clones share it, and may run at the same time.
#[derive(Clone)]
pub struct BurnEngine {
    network: Arc<dyn Network>,
    normalizer: Normalizer,
    device: Device,
    sizes: BatchSizes,
    width: usize,
    height: usize,
    classes: usize,
    on_cpu: bool,
}

thread_local! {
    /// Pixels of a batch or of a thread's part of it, kept to be filled again.
    static PIXELS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
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
            network: model.built_in().load(&device.device)?.into(),
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
            on_cpu: !device.is_gpu_runtime,
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

    /// As many engines as may run at the same time: on a GPU one, on the CPU one for each thread. One that runs while the
    /// others are idle uses their threads as well.
    pub fn workers(self) -> Vec<Box<dyn Engine>> {
        let count = if self.on_cpu { threads::count() } else { 1 };
        std::iter::repeat_n(self, count).map(|engine| Box::new(engine) as Box<dyn Engine>).collect()
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

    /// Runs some pictures, on this thread and, where it may share, on others.
    fn forward(&self, pictures: &[PreparedImage]) -> Result<Vec<Logits>, EngineError> {
        PIXELS.with_borrow_mut(|pixels| {
            let size = self.sizes.padded(pictures.len());
            pixels.clear();
            for picture in pictures {
                pixels.extend_from_slice(picture.pixels());
            }
            pixels.resize(size * self.width * self.height * 3, 0);
            let input = self.normalizer.run(pixels, size, self.height, self.width, self.network.layout());
            let logits = self.network.forward(input);
            if logits.dims() != [size, self.classes] {
                let reason = format!("{:?} logits for {size} pictures of {} classes", logits.dims(), self.classes);
                return Err(EngineError::Device(reason));
            }
            let logits = logits.try_into_data_dtype(DType::F32).map_err(|e| EngineError::Device(e.to_string()))?;
            let values = logits.as_slice::<f32>().map_err(|e| EngineError::Device(e.to_string()))?;
            self.split(values, pictures.len())
        })
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
        if !self.on_cpu {
            return self.forward(batch);
        }
        let _run = threads::Run::begin();
        let (apart, together) = lanes::plan(batch.len(), threads::available());
        let parts: Vec<OnceLock<Result<Vec<Logits>, EngineError>>> = apart.iter().map(|_| OnceLock::new()).collect();
        let engine = &*self;
        threads::run(apart.len(), |part| {
            parts[part].get_or_init(|| engine.forward(&batch[apart[part].clone()]));
        });
        let mut rows = Vec::with_capacity(batch.len());
        for part in parts {
            rows.extend(part.into_inner().expect("every part was run")?);
        }
        if !together.is_empty() {
            rows.extend(self.forward(&batch[together])?);
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for BurnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnEngine").field("device", &self.device).finish_non_exhaustive()
    }
}

//! The engine on Burn: one upload of u8 pixels, normalisation and network on the device, one download of logits.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use burn::tensor::{DType, Device};
use kiln_kernels::cpu::threads;
use model_import::{LoadError, Network};

use super::batch_sizes::BatchSizes;
use super::device::ChosenDevice;
use super::engine::{Engine, EngineError, Logits, Sample};
use super::input::Input;
use super::lanes;
use crate::image::PreparedImage;
use crate::model::Model;

/// A model on a device, warmed up. Clones share it, and may run at the same time.
#[derive(Clone)]
pub struct BurnEngine {
    network: Arc<dyn Network>,
    input: Input,
    device: Device,
    sizes: BatchSizes,
    classes: usize,
    on_cpu: bool,
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
        let network: Arc<dyn Network> = model.built_in().load(&device.device)?.into();
        let mut engine = Self {
            input: Input::new(&device.device, network.layout(), spec),
            network,
            device: device.device.clone(),
            sizes: if device.is_gpu_runtime {
                BatchSizes::powers_of_two(max_batch_size)
            } else {
                BatchSizes::every(max_batch_size)
            },
            classes: spec.labels.len(),
            on_cpu: !device.is_gpu_runtime,
        };
        let grey = vec![127; (spec.width * spec.height * 3) as usize];
        let grey = PreparedImage::new(spec.width, spec.height, grey.into());
        for size in engine.sizes.to_warm_up() {
            let started = Instant::now();
            engine.warm_up(&grey, size).map_err(|reason| StartError::WarmUp {
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

    /// Runs the same picture `size` times. A panic of the device runtime is a reason like any other.
    fn warm_up(&mut self, picture: &PreparedImage, size: usize) -> Result<(), String> {
        let batch = vec![Sample::from(picture.clone()); size];
        let run = std::panic::AssertUnwindSafe(|| self.run(&batch));
        match std::panic::catch_unwind(run) {
            Ok(answer) => answer.map(drop).map_err(|e| e.to_string()),
            Err(_) => Err("the device runtime panicked; its message stands above".to_string()),
        }
    }

    /// Runs samples of one kind, on as many threads as there are for it.
    fn shared(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        if !self.on_cpu {
            return self.forward(samples);
        }
        let _run = threads::Run::begin();
        let (apart, together) = lanes::plan(samples.len(), threads::available());
        let parts: Vec<OnceLock<Result<Vec<Logits>, EngineError>>> = apart.iter().map(|_| OnceLock::new()).collect();
        threads::run(apart.len(), |part| {
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
        let size = self.sizes.padded(samples.len());
        let logits = self.network.forward(self.input.tensor(samples, size));
        if logits.dims() != [size, self.classes] {
            let reason = format!("{:?} logits for {size} pictures of {} classes", logits.dims(), self.classes);
            return Err(EngineError::Device(reason));
        }
        let logits = logits.try_into_data_dtype(DType::F32).map_err(|e| EngineError::Device(e.to_string()))?;
        let values = logits.as_slice::<f32>().map_err(|e| EngineError::Device(e.to_string()))?;
        let rows: Vec<Logits> = values.chunks_exact(self.classes).take(samples.len()).map(Logits::from).collect();
        // A sick device answers with rubbish sooner than with an error. A client's tensor may well hold rubbish itself.
        let is_sick = |row: &Logits| row.iter().any(|value| !value.is_finite());
        if samples.iter().zip(&rows).any(|(sample, row)| matches!(sample, Sample::Picture(_)) && is_sick(row)) {
            return Err(EngineError::Device("the logits are not finite".to_string()));
        }
        Ok(rows)
    }
}

impl Engine for BurnEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        let mut rows = vec![Logits::default(); batch.len()];
        let is_picture = |sample: &Sample| matches!(sample, Sample::Picture(_));
        for pictures in [true, false] {
            let (places, samples): (Vec<usize>, Vec<&Sample>) =
                batch.iter().enumerate().filter(|(_, sample)| is_picture(sample) == pictures).unzip();
            if samples.is_empty() {
                continue;
            }
            for (place, row) in places.into_iter().zip(self.shared(&samples)?) {
                rows[place] = row;
            }
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for BurnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnEngine").field("device", &self.device).finish_non_exhaustive()
    }
}

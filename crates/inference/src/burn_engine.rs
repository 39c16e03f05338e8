//! The engine on Burn: uploads a batch, runs the network, and downloads logits or top-k classes.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use burn::tensor::{DType, Tensor};
use kiln_kernels::Kernels;
use model_import::Network;

use super::batch_partition::{BatchSizes, partition};
use super::device::{ChosenDevice, DeviceInfo};
use super::engine::{Engine, EngineError, Logits, Output, Sample, catch_panic};
use super::error::StartError;
use super::input::Input;
use super::network_adapter::adapt;
use super::options::{Options, ResizeChoice};
use super::ranking::ScoredClass;
use super::self_test::{Difference, SelfTest, synthetic_image};
use crate::model::{Model, NetworkSource, Task};

/// A model on a device, warmed up. Clones share the model, and may run at the same time.
#[derive(Clone)]
pub struct BurnEngine {
    pub(super) model: Model,
    pub(super) options: Options,
    pub(super) kernels: Kernels,
    pub(super) sizes: BatchSizes,
    pub(super) on_cpu: bool,
    pub(super) device: ChosenDevice,
    pub(super) network: Arc<dyn Network>,
    pub(super) input: Input,
    pub(super) self_test: Option<Arc<SelfTest>>,
    /// The time of the last replacement of the device.
    pub(super) replaced: Option<Instant>,
}

impl BurnEngine {
    /// Creates an engine that has not run yet. [`Self::start`] is the public constructor.
    pub(super) fn new(
        model: Model,
        device: &ChosenDevice,
        options: &Options,
        network: Arc<dyn Network>,
        kernels: Kernels,
        self_test: Option<Arc<SelfTest>>,
    ) -> Self {
        let on_cpu = !device.is_gpu_runtime;
        let input = Input::new(&device.device, options.precision.dtype(), network.layout(), model.spec());
        Self {
            model,
            options: options.clone(),
            kernels,
            sizes: BatchSizes::new(kernels, on_cpu, options.max_batch_size),
            on_cpu,
            device: device.clone(),
            input,
            network,
            self_test,
            replaced: None,
        }
    }

    /// Returns the device, and how the model runs on it.
    pub fn assignment(&self) -> DeviceAssignment {
        DeviceAssignment {
            device: self.device.info.clone(),
            precision: self.options.precision.to_string(),
            kernels: self.kernels.to_string(),
        }
    }

    /// Returns the maximum size of a [`Sample::CropRegion`] in bytes: a full batch of them fits one buffer of the device.
    /// `None` if the engine does not resize images.
    pub fn max_crop_bytes(&self) -> Option<usize> {
        let resizes = match self.options.resize {
            ResizeChoice::Cpu => false,
            ResizeChoice::Gpu => !self.on_cpu,
            ResizeChoice::Auto => !self.on_cpu && !self.device.is_software && self.kernels != Kernels::Stock,
        };
        // A quarter of the buffer remains for other uploads and for rounding.
        let buffer = usize::try_from(self.device.max_buffer_bytes).unwrap_or(usize::MAX) / 4 * 3;
        resizes.then_some((buffer / self.options.max_batch_size.max(1)).min(self.options.max_crop_bytes))
    }

    /// Returns the bytes that the device's allocator holds, if the device reports them.
    pub fn device_bytes(&self) -> Option<u64> {
        self.device.device.memory_pool_usage().map(|usage| usage.bytes_reserved)
    }

    /// Returns the engines that may run at the same time: one on a GPU, one per thread on the CPU. An engine on the CPU also
    /// uses the threads of idle engines.
    pub fn into_engines(self) -> Vec<Box<dyn Engine>> {
        let count = if self.on_cpu { self.device.cpu.threads() } else { 1 };
        std::iter::repeat_n(self, count).map(|engine| Box::new(engine) as Box<dyn Engine>).collect()
    }

    /// Runs the self-test. Without reference logits, the first result becomes the reference.
    pub(super) fn run_self_test(&mut self) -> Result<(), EngineError> {
        if let Some(self_test) = &self.self_test {
            let rows = self.run_parallel(&[self_test.image()])?;
            return self_test.check(&rows[0]).map_err(EngineError::Device);
        }
        let first = self.run(&[synthetic_image(&self.model)])?.swap_remove(0);
        if !first.iter().all(|logit| logit.is_finite()) {
            return Err(EngineError::Device("the logits are not finite".to_string()));
        }
        self.self_test = Some(Arc::new(SelfTest::new(&self.model, first, self.options.precision)));
        Ok(())
    }

    /// Returns the difference from the reference logits; `None` if there are none.
    pub(super) fn self_test_difference(&mut self) -> Result<Option<Difference>, EngineError> {
        let Some(self_test) = &self.self_test else { return Ok(None) };
        let rows = self.run_parallel(&[self_test.image()])?;
        Ok(Some(self_test.difference(&rows[0])))
    }

    /// Runs `work` on the engine. Returns the text of an error or of a panic of the device runtime.
    pub(super) fn catch_panic<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, EngineError>,
    ) -> Result<T, String> {
        catch_panic(|| work(self)).map_err(|error| error.to_string())
    }

    /// Runs samples that are all tensors, or none. On the CPU the batch is split over the idle threads.
    fn run_parallel(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        if !self.on_cpu {
            return self.forward(samples);
        }
        self.device.cpu.enter(|| self.run_on_threads(samples))
    }

    /// Runs samples on the CPU, in the context that this thread has entered.
    fn run_on_threads(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        let cpu = &self.device.cpu;
        let (separate, together) = partition(samples.len(), cpu.available_threads());
        let parts: Vec<OnceLock<Result<Vec<Logits>, EngineError>>> = separate.iter().map(|_| OnceLock::new()).collect();
        cpu.run(separate.len(), |part| {
            parts[part].get_or_init(|| self.forward(&samples[separate[part].clone()]));
        });
        let mut rows = Vec::with_capacity(samples.len());
        for part in parts {
            rows.extend(part.into_inner().expect("every part ran")?);
        }
        if !together.is_empty() {
            rows.extend(self.forward(&samples[together])?);
        }
        Ok(rows)
    }

    /// Runs one part of a batch on this thread; layers may use other threads, if they are free.
    fn forward(&self, samples: &[&Sample]) -> Result<Vec<Logits>, EngineError> {
        let logits = self.logits(samples)?;
        let logits = logits.try_into_data_dtype(DType::F32).map_err(|e| EngineError::device(&e))?;
        let values = logits.as_slice::<f32>().map_err(|e| EngineError::device(&e))?;
        Ok(values.chunks_exact(self.model.spec().outputs).take(samples.len()).map(Logits::from).collect())
    }

    /// Like [`Self::forward`], but finds the most probable classes on the device, and downloads only these.
    fn forward_top_k(&self, samples: &[&Sample], top_k: usize) -> Result<Vec<Output>, EngineError> {
        let top_k = top_k.min(self.model.spec().outputs);
        let rows = kiln_kernels::top_k(self.logits(samples)?, top_k).map_err(|e| EngineError::device(&e))?;
        let class = |(probability, class_id)| ScoredClass { class_id, probability };
        let output = |row: Vec<(f32, usize)>| Output::TopK(row.into_iter().map(class).collect());
        Ok(rows.into_iter().take(samples.len()).map(output).collect())
    }

    /// Computes logits on the device, `[batch, classes]`. Rows after the samples are padding.
    fn logits(&self, samples: &[&Sample]) -> Result<Tensor<2>, EngineError> {
        let size = self.sizes.padded(samples.len());
        let logits = self.kernels.scope(|| self.network.forward(self.input.tensor(samples, size)));
        let classes = self.model.spec().outputs;
        if logits.dims() == [size, classes] {
            return Ok(logits);
        }
        let reason = format!("the network returned logits of shape {:?}, not [{size}, {classes}]", logits.dims());
        Err(EngineError::Device(reason))
    }
}

impl Engine for BurnEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        let mut rows = vec![Logits::default(); batch.len()];
        let is_tensor = |sample: &Sample| matches!(sample, Sample::Tensor(_));
        for tensors in [false, true] {
            let (indices, samples): (Vec<usize>, Vec<&Sample>) =
                batch.iter().enumerate().filter(|(_, sample)| is_tensor(sample) == tensors).unzip();
            if samples.is_empty() {
                continue;
            }
            for (index, row) in indices.into_iter().zip(self.run_parallel(&samples)?) {
                rows[index] = row;
            }
        }
        Ok(rows)
    }

    fn run_top_k(&mut self, batch: &[Sample], top_k: usize) -> Result<Vec<Output>, EngineError> {
        let has_softmax = self.model.spec().task == Task::SingleLabel;
        let on_gpu = !self.on_cpu && matches!(self.kernels, Kernels::Fused(_)) && has_softmax;
        // On the host a thousand exponentials take microseconds. For tensors the caller needs the logits: their scores may not be
        // finite without a fault of the device.
        if on_gpu && !batch.iter().any(|sample| matches!(sample, Sample::Tensor(_))) {
            return self.forward_top_k(&batch.iter().collect::<Vec<_>>(), top_k);
        }
        Ok(self.run(batch)?.into_iter().map(Output::Logits).collect())
    }

    fn padding(&self, batch: &[Sample]) -> usize {
        let tensors = batch.iter().filter(|sample| matches!(sample, Sample::Tensor(_))).count();
        let padding = |samples: usize| if samples == 0 { 0 } else { self.sizes.padded(samples) - samples };
        // Tensors and images run separately. The CPU also runs parts of a batch separately, but without padding.
        padding(tensors) + padding(batch.len() - tensors)
    }

    fn memory(&self) -> Option<(String, u64)> {
        self.device_bytes().map(|bytes| (self.device.info.name.clone(), bytes))
    }

    fn self_test(&mut self) -> Result<(), EngineError> {
        self.run_self_test()
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        self.replace_device()
    }
}

impl std::fmt::Debug for BurnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnEngine").field("device", &self.device.info).finish_non_exhaustive()
    }
}

/// Loads the network with the model's weights.
pub(super) fn load_network(model: &Model, device: &ChosenDevice) -> Result<Box<dyn Network>, StartError> {
    match model.network() {
        NetworkSource::BuiltIn(built_in, weights) => Ok(built_in.load_with(&device.device, &weights)?),
        NetworkSource::File(file) => Ok(adapt(file.load(&device.device)?, &*file, model.spec())),
    }
}

/// The device of a model, and how the model runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAssignment {
    /// The device.
    pub device: DeviceInfo,
    /// The precision, as in `--precision`.
    pub precision: String,
    /// `fused` or `stock`.
    pub kernels: String,
}

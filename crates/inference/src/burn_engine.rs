//! The engine on Burn: what it is made of, and what batching may ask of it.

use std::sync::Arc;
use std::time::Instant;

use kiln_kernels::Kernels;
use model_import::Network;

use super::batch_sizes::BatchSizes;
use super::canary::Canary;
use super::choice::ResizeChoice;
use super::device::ChosenDevice;
use super::engine::{Engine, EngineError, Logits, Output, Sample};
use super::input::Input;
use super::options::Options;
use super::placement::Placement;
use super::start::{self, StartError, Step};
use super::warm_up;
use crate::model::Model;

/// A model on a device, warmed up. Clones share it, and may run at the same time.
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
    pub(super) canary: Option<Arc<Canary>>,
    /// When its device was last replaced.
    pub(super) replaced: Option<Instant>,
}

impl BurnEngine {
    /// Puts `model` on `device`, makes sure that it computes rightly there, and runs the batch sizes that need it once, so
    /// that no request pays for first-use work.
    ///
    /// # Errors
    ///
    /// The weights do not load, the options are not to be had on the device, or it fails on a batch.
    pub fn start(
        model: Model,
        device: &ChosenDevice,
        options: &Options,
        mut progress: impl FnMut(Step),
    ) -> Result<Self, StartError> {
        start::start(model, device, options, &mut progress)
    }

    /// An engine that has run nothing yet.
    pub(super) fn new(
        model: Model,
        device: &ChosenDevice,
        options: &Options,
        network: Arc<dyn Network>,
        kernels: Kernels,
        canary: Option<Arc<Canary>>,
    ) -> Self {
        let (on_cpu, spec) = (!device.is_gpu_runtime, model.spec());
        Self {
            model,
            options: options.clone(),
            kernels,
            sizes: warm_up::sizes(kernels, on_cpu, options.max_batch_size),
            on_cpu,
            device: device.clone(),
            input: Input::new(&device.device, options.precision.dtype(), network.layout(), spec),
            network,
            canary,
            replaced: None,
        }
    }

    /// Where and how it runs.
    pub fn placement(&self) -> Placement {
        Placement {
            device: self.device.info.clone(),
            precision: self.options.precision.to_string(),
            kernels: self.kernels.to_string(),
        }
    }

    /// The largest cut-out ([`Sample::CropRegion`]) that it takes, in bytes, so that a full batch of them fits one buffer of
    /// the device; nothing if it is not to resize.
    pub fn largest_cutout(&self) -> Option<usize> {
        let resizes = match self.options.resize {
            ResizeChoice::Cpu => false,
            ResizeChoice::Gpu => !self.on_cpu,
            ResizeChoice::Auto => !self.on_cpu && !self.device.is_software && self.kernels != Kernels::Stock,
        };
        // A quarter is left for what else goes up, and for rounding.
        let buffer = usize::try_from(self.device.max_buffer_bytes).unwrap_or(usize::MAX) / 4 * 3;
        resizes.then_some((buffer / self.options.max_batch_size.max(1)).min(self.options.max_cutout_bytes))
    }

    /// Bytes that the device's allocator holds, where it tells.
    pub fn device_bytes(&self) -> Option<u64> {
        self.device.device.memory_pool_usage().map(|usage| usage.bytes_reserved)
    }

    /// As many engines as may run at the same time: on a GPU one, on the CPU one for each thread. One that runs while the
    /// others are idle uses their threads as well.
    pub fn workers(self) -> Vec<Box<dyn Engine>> {
        let count = if self.on_cpu { self.device.cpu.threads() } else { 1 };
        std::iter::repeat_n(self, count).map(|engine| Box::new(engine) as Box<dyn Engine>).collect()
    }
}

impl Engine for BurnEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        let mut rows = vec![Logits::default(); batch.len()];
        let is_picture = |sample: &Sample| !matches!(sample, Sample::Tensor(_));
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

    fn run_ranked(&mut self, batch: &[Sample], top: usize) -> Result<Vec<Output>, EngineError> {
        let on_gpu = !self.on_cpu && matches!(self.kernels, Kernels::Fused(_));
        // On the host a thousand exponentials cost microseconds. Tensors may hold anything, which is no fault of the device.
        if on_gpu && !batch.iter().any(|sample| matches!(sample, Sample::Tensor(_))) {
            return self.forward_ranked(&batch.iter().collect::<Vec<_>>(), top);
        }
        Ok(self.run(batch)?.into_iter().map(Output::Logits).collect())
    }

    fn padding(&self, batch: &[Sample]) -> usize {
        let tensors = batch.iter().filter(|sample| matches!(sample, Sample::Tensor(_))).count();
        let of = |samples: usize| if samples == 0 { 0 } else { self.sizes.padded(samples) - samples };
        // Each kind runs by itself. On the CPU, where parts of a batch run by themselves too, there is no padding.
        of(tensors) + of(batch.len() - tensors)
    }

    fn memory(&self) -> Option<(String, u64)> {
        self.device_bytes().map(|bytes| (self.device.info.name.clone(), bytes))
    }

    fn check(&mut self) -> Result<(), EngineError> {
        self.check_canary()
    }

    fn rebuild(&mut self) -> Result<(), EngineError> {
        self.replace()
    }
}

impl std::fmt::Debug for BurnEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BurnEngine").field("device", &self.device.info).finish_non_exhaustive()
    }
}

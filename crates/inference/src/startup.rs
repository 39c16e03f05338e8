//! Starts an engine: weights, kernel selection, warm-up, self-test. Replaces the device of a failed engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_kernels::{Kernels, Layout};
use model_import::Network;

use super::batch_partition::BatchSizes;
use super::burn_engine::{BurnEngine, DeviceAssignment, load_network};
use super::device::{self, ChosenDevice};
use super::engine::{Engine, EngineError};
use super::error::{PrecisionError, StartError};
use super::options::{KernelChoice, Options, Precision, ResizeChoice};
use super::reference_logits::reference_logits;
use super::self_test::{Difference, SelfTest, synthetic_crop, synthetic_image};
use crate::model::Model;

/// The progress of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The weights are on the device.
    Loaded(Duration),
    /// A batch of this size starts to run. A GPU runtime compiles its kernels first.
    WarmingUp(usize),
    /// A batch of this size ran.
    WarmedUp(usize, Duration),
    /// Both kinds of kernels ran the same batch.
    Measured {
        /// The shortest time of Kiln's kernels.
        fused: Duration,
        /// The shortest time of Burn's kernels.
        stock: Duration,
        /// The duration of the whole measurement.
        took: Duration,
    },
    /// The self-test passed.
    Checked(Duration),
}

/// If a device fails again within this time after its replacement, it is not replaced a second time.
const MIN_REPLACEMENT_INTERVAL: Duration = Duration::from_secs(600);

impl BurnEngine {
    /// Loads `model` on `device`, warms it up, and runs the self-test. The warm-up runs every batch size that needs a first
    /// run, so that no request waits for compilation.
    ///
    /// # Errors
    ///
    /// The weights do not load, an option is not available on the device, the device fails on a batch, or the self-test
    /// fails.
    pub fn start(
        model: Model,
        device: &ChosenDevice,
        options: &Options,
        mut progress: impl FnMut(Step),
    ) -> Result<Self, StartError> {
        let mut engine = Self::start_untested(model.clone(), device, options, &mut progress)?;
        let started = Instant::now();
        let wrong =
            |reason| StartError::SelfTest { model: model.name().into(), device: device.info.name.clone(), reason };
        engine.catch_panic(Self::run_self_test).map_err(wrong)?;
        progress(Step::Checked(started.elapsed()));
        Ok(engine)
    }

    /// Starts an engine without the self-test.
    fn start_untested(
        model: Model,
        device: &ChosenDevice,
        options: &Options,
        progress: &mut dyn FnMut(Step),
    ) -> Result<Self, StartError> {
        let failed = |reason: String| StartError::warm_up(&model, device, reason);
        if options.resize == ResizeChoice::Gpu && !device.is_gpu_runtime {
            return Err(StartError::NoResize { device: device.info.name.clone() });
        }
        let reference = reference_logits(&model, device).map_err(failed)?;
        let best = device.best_kernels();
        let kernels = match (options.kernels, best) {
            (KernelChoice::Fused, Kernels::Stock) => {
                return Err(StartError::NoFused { device: device.info.name.clone(), compiler: device.info.compiler });
            }
            (KernelChoice::Stock, _) => Kernels::Stock,
            (KernelChoice::Auto | KernelChoice::Fused, best) => best,
        };
        let started = Instant::now();
        let network: Arc<dyn Network> = kernels.scope(|| device.cpu.enter(|| load_network(&model, device)))?.into();
        progress(Step::Loaded(started.elapsed()));
        let is_fused = network.layout() == Layout::ChannelsLast;
        if options.precision == Precision::F16 && !is_fused {
            return Err(PrecisionError::NotFused { model: model.name().to_string() }.into());
        }
        let self_test = reference.map(|logits| Arc::new(SelfTest::new(&model, logits, options.precision)));
        let mut engine = Self::new(model.clone(), device, options, network, kernels, self_test);
        let has_alternative =
            options.kernels == KernelChoice::Auto && kernels != Kernels::Stock && device.is_gpu_runtime && is_fused;
        let cached = if has_alternative { engine.kernel_selection_cache().fused_is_faster() } else { None };
        if cached == Some(false) {
            engine.use_stock_kernels();
        }
        engine.warm_up(progress).map_err(failed)?;
        if has_alternative && cached.is_none() {
            engine.select_kernels(progress).map_err(failed)?;
        }
        Ok(engine)
    }

    /// Runs each batch size that needs a first run.
    fn warm_up(&mut self, progress: &mut dyn FnMut(Step)) -> Result<(), String> {
        let cpu_threads = self.on_cpu.then(|| self.device.cpu.threads());
        for size in self.sizes.to_warm_up(cpu_threads) {
            progress(Step::WarmingUp(size));
            let started = Instant::now();
            self.run_every_program(size)?;
            progress(Step::WarmedUp(size, started.elapsed()));
        }
        Ok(())
    }

    /// Runs every program that a batch of this size may need.
    fn run_every_program(&mut self, size: usize) -> Result<(), String> {
        let batch = vec![synthetic_image(&self.model); size];
        self.catch_panic(|engine| {
            engine.run(&batch)?;
            // Top-k on the device is a separate program.
            if !engine.on_cpu {
                engine.run_top_k(&batch[..1], 1)?;
            }
            // Resizing is one, too.
            if let Some(bytes) = engine.max_crop_bytes() {
                engine.run_top_k(&vec![synthetic_crop(bytes); size], 1)?;
            }
            Ok(())
        })
    }

    /// Measures both kinds of kernels, uses the faster one, and caches the result. The fused kernels are warm already. If the
    /// stock kernels fail, the fused kernels stay.
    fn select_kernels(&mut self, progress: &mut dyn FnMut(Step)) -> Result<(), String> {
        let (fused, started) = (self.kernels, Instant::now());
        let measured = self.measure_kernels(fused);
        self.kernels = fused;
        let times = match measured {
            Ok(times) => times,
            Err(reason) => {
                tracing::info!(%reason, "stock kernels failed, using fused kernels");
                return Ok(());
            }
        };
        progress(Step::Measured { fused: times.fused, stock: times.stock, took: started.elapsed() });
        if times.fused <= times.stock {
            self.kernel_selection_cache().store(fused);
            return Ok(());
        }
        self.kernel_selection_cache().store(Kernels::Stock);
        self.use_stock_kernels();
        self.warm_up(progress)
    }

    /// Switches to Burn's kernels, and to their batch sizes.
    fn use_stock_kernels(&mut self) {
        self.kernels = Kernels::Stock;
        self.sizes = BatchSizes::new(Kernels::Stock, self.on_cpu, self.options.max_batch_size);
    }

    /// Starts again on the same hardware, unless the device was replaced a short time ago.
    pub(super) fn replace_device(&mut self) -> Result<(), EngineError> {
        if self.replaced.is_some_and(|then| then.elapsed() < MIN_REPLACEMENT_INTERVAL) {
            return Err(EngineError::Device("the device was replaced a short time ago".to_string()));
        }
        if self.device.wgpu.is_none() {
            return Err(EngineError::Device("this device cannot be replaced while the process runs".to_string()));
        }
        let failed = |error: &dyn std::error::Error| EngineError::Device(error.to_string());
        let device = device::choose(&self.device.choice).map_err(|error| failed(&error))?;
        // `auto` could return the CPU or another GPU, which the operator did not request as a replacement.
        if !device.is_same_as(&self.device) {
            let reason = format!("the device is gone, and {} would take its place", device.info.name);
            return Err(EngineError::Device(reason));
        }
        // Model versions that start later use the new device, too.
        let device = self.device.replaced_by(device);
        // Keep the kernels: measuring them again would only take time.
        let options = Options { kernels: self.kernels.into(), ..self.options.clone() };
        let progress = |step| tracing::debug!(?step, "replacing the device");
        let mut rebuilt =
            Self::start(self.model.clone(), &device, &options, progress).map_err(|error| failed(&error))?;
        rebuilt.replaced = Some(Instant::now());
        rebuilt.options = self.options.clone();
        *self = rebuilt;
        Ok(())
    }
}

/// The result of a model's self-test on a device.
#[derive(Clone, Debug)]
pub struct SelfTestReport {
    /// The device, and how the model ran.
    pub assignment: DeviceAssignment,
    /// The source of the reference logits.
    pub reference: ReferenceSource,
    /// The difference from the reference logits; `None` if there are none.
    pub difference: Option<Difference>,
}

/// The source of reference logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceSource {
    /// They came with the weights.
    Weights,
    /// This program's CPU engine computed them.
    Cpu,
    /// There are none.
    None,
}

/// Runs `model` on `device` as a server would, and reports the difference from the reference logits. A large difference is
/// not an error here.
///
/// # Errors
///
/// The model does not run on the device.
pub fn self_test_report(
    model: Model,
    device: &ChosenDevice,
    options: &Options,
    mut progress: impl FnMut(Step),
) -> Result<SelfTestReport, StartError> {
    let mut engine = BurnEngine::start_untested(model.clone(), device, options, &mut progress)?;
    let reference = match (model.reference_logits(), &engine.self_test) {
        (Some(_), _) => ReferenceSource::Weights,
        (None, Some(_)) => ReferenceSource::Cpu,
        (None, None) => ReferenceSource::None,
    };
    let difference = engine
        .catch_panic(BurnEngine::self_test_difference)
        .map_err(|reason| StartError::warm_up(&model, device, reason))?;
    Ok(SelfTestReport { assignment: engine.assignment(), reference, difference })
}

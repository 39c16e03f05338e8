//! An engine's first runs: every batch size that is compiled for, and where there is a choice both kinds of kernels.

use std::time::{Duration, Instant};

use kiln_kernels::Kernels;

use super::batch_sizes::BatchSizes;
use super::burn_engine::BurnEngine;
use super::canary;
use super::device::ChosenDevice;
use super::engine::{Engine, EngineError, panic_message};
use super::remembered::Remembered;
use super::start::Step;

impl BurnEngine {
    /// Runs each batch size that has to be.
    pub(super) fn warm_up(&mut self, progress: &mut dyn FnMut(Step)) -> Result<(), String> {
        for size in self.sizes.to_warm_up() {
            progress(Step::WarmingUp(size));
            let started = Instant::now();
            self.run_canary(size)?;
            progress(Step::WarmedUp(size, started.elapsed()));
        }
        Ok(())
    }

    /// Takes the quicker kernels, by what is remembered or else by running both.
    pub(super) fn choose_kernels(
        &mut self,
        device: &ChosenDevice,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), String> {
        let fused = self.kernels;
        // A software adapter would take seconds for a large batch.
        let size = if device.is_software { 1 } else { self.options.max_batch_size };
        let (info, spec) = (&device.info, self.model.spec());
        let (size_text, precision) = (size.to_string(), self.options.precision.to_string());
        let driver = info.driver.as_deref().unwrap_or_default();
        let subject = [&info.name, driver, info.compiler, spec.name, spec.sha256, &precision, &size_text];
        let remembered = Remembered::of(self.options.cache.as_deref(), &subject);
        if let Some(fused_is_quicker) = remembered.fused_is_quicker() {
            return if fused_is_quicker { Ok(()) } else { self.change_kernels(Kernels::Stock, progress) };
        }
        let started = Instant::now();
        let (ours, stock) = self.measure(fused, size)?;
        progress(Step::Measured { fused: ours, stock, took: started.elapsed() });
        let quicker = if ours <= stock { fused } else { Kernels::Stock };
        remembered.keep(quicker);
        if quicker == fused { Ok(()) } else { self.change_kernels(quicker, progress) }
    }

    fn change_kernels(&mut self, kernels: Kernels, progress: &mut dyn FnMut(Step)) -> Result<(), String> {
        self.kernels = kernels;
        self.sizes = sizes(kernels, self.on_cpu, self.options.max_batch_size);
        self.warm_up(progress)
    }

    /// The best of some runs of each, in turns. The fused kernels are left in use.
    fn measure(&mut self, fused: Kernels, size: usize) -> Result<(Duration, Duration), String> {
        let mut best = [Duration::MAX; 2];
        // The first round is for what is compiled in it.
        for round in 0..4 {
            for (kernels, best) in [Kernels::Stock, fused].into_iter().zip(&mut best) {
                self.kernels = kernels;
                let started = Instant::now();
                self.run_canary(size)?;
                if round > 0 {
                    *best = started.elapsed().min(*best);
                }
            }
        }
        Ok((best[1], best[0]))
    }

    fn run_canary(&mut self, size: usize) -> Result<(), String> {
        let batch = vec![canary::picture(self.model); size];
        self.caught(|engine| {
            engine.run(&batch)?;
            // Where ranks are found on the device, that is a program of its own.
            if !engine.on_cpu {
                engine.run_ranked(&batch[..1], 1)?;
            }
            // So is resizing.
            if engine.resizes() {
                engine.run_ranked(&[canary::cutout()], 1)?;
            }
            Ok(())
        })
    }

    /// A panic of the device runtime is a reason like any other.
    pub(super) fn caught<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, EngineError>) -> Result<T, String> {
        let work = std::panic::AssertUnwindSafe(|| work(self));
        match std::panic::catch_unwind(work) {
            Ok(answer) => answer.map_err(|e| e.to_string()),
            Err(panic) => Err(format!("the device runtime panicked: {}", panic_message(&*panic))),
        }
    }
}

/// Stock kernels on a GPU are tuned for each shape, so they see few of them; the others take any.
pub(super) fn sizes(kernels: Kernels, on_cpu: bool, max_batch_size: usize) -> BatchSizes {
    match kernels {
        Kernels::Stock if !on_cpu => BatchSizes::powers_of_two(max_batch_size),
        _ => BatchSizes::every(max_batch_size),
    }
}

//! An engine's first runs: every batch size that is compiled for, and where there is a choice both kinds of kernels.

use std::time::{Duration, Instant};

use kiln_kernels::Kernels;

use super::batch_sizes::BatchSizes;
use super::burn_engine::BurnEngine;
use super::canary;
use super::engine::{Engine, EngineError, caught};
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

    /// What is known of the quicker kernels from an earlier start.
    pub(super) fn remembered(&self) -> Remembered {
        let (info, spec) = (&self.device.info, self.model.spec());
        let (size, precision) = (self.measured_size().to_string(), self.options.precision.to_string());
        let driver = info.driver.as_deref().unwrap_or_default();
        let subject = [&info.name, driver, info.compiler, spec.name, spec.sha256, &precision, &size];
        Remembered::of(self.options.cache.as_deref(), &subject)
    }

    /// A software adapter would take seconds for a large batch.
    fn measured_size(&self) -> usize {
        if self.device.is_software { 1 } else { self.options.max_batch_size }
    }

    /// Runs both kinds of kernels, takes the quicker ones and remembers them. The fused ones are warm; if the stock ones do
    /// not run, there is nothing to choose.
    pub(super) fn choose_kernels(&mut self, progress: &mut dyn FnMut(Step)) -> Result<(), String> {
        let (fused, started) = (self.kernels, Instant::now());
        let measured = self.measure(fused, self.measured_size());
        self.kernels = fused;
        let (ours, stock) = match measured {
            Ok(times) => times,
            Err(reason) => {
                tracing::info!(%reason, "Burn's own kernels do not run here; the fused ones it is");
                return Ok(());
            }
        };
        progress(Step::Measured { fused: ours, stock, took: started.elapsed() });
        if ours <= stock {
            self.remembered().keep(fused);
            return Ok(());
        }
        self.remembered().keep(Kernels::Stock);
        self.use_stock();
        self.warm_up(progress)
    }

    /// Uses Burn's own kernels, and the batch sizes that suit them.
    pub(super) fn use_stock(&mut self) {
        self.kernels = Kernels::Stock;
        self.sizes = sizes(Kernels::Stock, self.on_cpu, self.options.max_batch_size);
    }

    /// The best of some runs of each, in turns. Both have the same to do: whether a device finds ranks or resizes as well
    /// depends on the kernels, and is not what they are compared by.
    fn measure(&mut self, fused: Kernels, size: usize) -> Result<(Duration, Duration), String> {
        let batch = vec![canary::picture(&self.model); size];
        let mut best = [Duration::MAX; 2];
        // The first round is for what is compiled in it.
        for round in 0..4 {
            for (kernels, best) in [Kernels::Stock, fused].into_iter().zip(&mut best) {
                self.kernels = kernels;
                let started = Instant::now();
                self.caught(|engine| engine.run(&batch))?;
                if round > 0 {
                    *best = started.elapsed().min(*best);
                }
            }
        }
        Ok((best[1], best[0]))
    }

    fn run_canary(&mut self, size: usize) -> Result<(), String> {
        let batch = vec![canary::picture(&self.model); size];
        self.caught(|engine| {
            engine.run(&batch)?;
            // Where ranks are found on the device, that is a program of its own.
            if !engine.on_cpu {
                engine.run_ranked(&batch[..1], 1)?;
            }
            // So is resizing.
            if let Some(bytes) = engine.largest_cutout() {
                engine.run_ranked(&vec![canary::cutout(bytes); size], 1)?;
            }
            Ok(())
        })
    }

    /// What goes wrong as a reason, and a panic of the device runtime like anything else.
    pub(super) fn caught<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, EngineError>) -> Result<T, String> {
        caught(|| work(self)).map_err(|error| error.to_string())
    }
}

/// Stock kernels on a GPU are tuned for each shape, so they see few of them; the others take any.
pub(super) fn sizes(kernels: Kernels, on_cpu: bool, max_batch_size: usize) -> BatchSizes {
    match kernels {
        Kernels::Stock if !on_cpu => BatchSizes::powers_of_two(max_batch_size),
        _ => BatchSizes::every(max_batch_size),
    }
}

//! An engine that doubts itself: the canary while it runs, and another device when it cannot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::burn_engine::BurnEngine;
use super::canary::{self, Canary, Difference};
use super::device;
use super::engine::{Engine, EngineError};
use super::options::Options;

/// A device that fails again before it has served for so long is not worth another attempt.
const GOOD_SERVICE: Duration = Duration::from_secs(600);

impl BurnEngine {
    /// Runs the canary, or if nothing is known of it takes its answer for the right one.
    pub(super) fn check_canary(&mut self) -> Result<(), EngineError> {
        if let Some(canary) = &self.canary {
            let answer = self.shared(&[canary.picture()])?;
            return canary.check(&answer[0]).map_err(EngineError::Device);
        }
        let first = self.run(&[canary::picture(&self.model)])?.swap_remove(0);
        if !first.iter().all(|logit| logit.is_finite()) {
            return Err(EngineError::Device("the logits are not finite".to_string()));
        }
        self.canary = Some(Arc::new(Canary::new(&self.model, first, self.options.precision)));
        Ok(())
    }

    /// How far the answer to the canary is off, if the right one is known.
    pub(super) fn canary_difference(&mut self) -> Result<Option<Difference>, EngineError> {
        let Some(canary) = &self.canary else { return Ok(None) };
        let answer = self.shared(&[canary.picture()])?;
        Ok(Some(canary.difference(&answer[0])))
    }

    /// Starts anew on the same hardware, if that has served well since it last had to.
    pub(super) fn replace(&mut self) -> Result<(), EngineError> {
        if self.replaced.is_some_and(|then| then.elapsed() < GOOD_SERVICE) {
            return Err(EngineError::Device("it was replaced a short time ago".to_string()));
        }
        if self.device.wgpu.is_none() {
            return Err(EngineError::Device("this device cannot be replaced while the process runs".to_string()));
        }
        let refuse = |error: &dyn std::error::Error| EngineError::Device(error.to_string());
        let device = device::choose(&self.device.choice).map_err(|error| refuse(&error))?;
        // With `auto` the CPU would do, but nobody asked for it to.
        if !device.is_same_as(&self.device) {
            return Err(EngineError::Device(format!("it is gone; there is {} instead", device.info.name)));
        }
        // Versions that come later are to be started there too.
        let device = self.device.replaced_by(device);
        // The kernels stay what they are: to measure them would only take time.
        let options = Options { kernels: self.kernels.into(), ..self.options.clone() };
        let progress = |step| tracing::debug!(?step, "the device is being replaced");
        let mut rebuilt =
            Self::start(self.model.clone(), &device, &options, progress).map_err(|error| refuse(&error))?;
        rebuilt.replaced = Some(Instant::now());
        rebuilt.options = self.options.clone();
        *self = rebuilt;
        Ok(())
    }
}

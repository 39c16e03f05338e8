//! The start, readiness and the devices: what changes seldom.

use std::time::Duration;

use metrics::{counter, gauge};

use super::names::{BUILD_INFO, CANARIES, DEVICE_INFO, READINESS, READY, REBUILDS, STARTUP_SECONDS};

/// Every state that the server may be in.
const STATES: [&str; 5] = ["starting", "ready", "recovering", "draining", "failed"];

/// Rare things are counted from zero on, or their first time could not be seen as an increase.
pub(super) fn begin() {
    for outcome in ["ok", "failed"] {
        counter!(CANARIES.name, "outcome" => outcome).increment(0);
    }
    for outcome in ["recovered", "failed"] {
        counter!(REBUILDS.name, "outcome" => outcome).increment(0);
    }
}

/// Tells once which model runs.
pub fn build_info(model: &'static str, model_version: &'static str) {
    let version = env!("CARGO_PKG_VERSION");
    gauge!(BUILD_INFO.name, "version" => version, "model" => model, "model_version" => model_version).set(1.0);
}

/// What a model runs on.
#[derive(Clone, Debug)]
pub struct DeviceLabels {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// How it is reached.
    pub api: String,
    /// Its driver, or nothing.
    pub driver: String,
    /// What compiles its kernels.
    pub compiler: String,
    /// What its tensors hold.
    pub precision: String,
    /// Whose kernels they are.
    pub kernels: String,
}

/// Tells once what a model runs on.
pub fn device_info(labels: DeviceLabels) {
    let DeviceLabels { model, device, api, driver, compiler, precision, kernels } = labels;
    gauge!(
        DEVICE_INFO.name,
        "model" => model,
        "device" => device,
        "api" => api,
        "driver" => driver,
        "compiler" => compiler,
        "precision" => precision,
        "kernels" => kernels
    )
    .set(1.0);
}

/// A phase of the start took that long.
pub fn startup(phase: &'static str, took: Duration) {
    gauge!(STARTUP_SECONDS.name, "phase" => phase).increment(took.as_secs_f64());
}

/// The state that the server is in: `starting`, `ready`, `recovering`, `draining` or `failed`.
pub fn ready(state: &'static str) {
    debug_assert!(STATES.contains(&state), "{state}");
    for each in STATES {
        gauge!(READINESS.name, "state" => each).set(f64::from(u8::from(each == state)));
    }
    gauge!(READY.name).set(f64::from(u8::from(state == "ready")));
}

/// A device that failed was replaced, or was not.
pub fn device_rebuilt(done: bool) {
    counter!(REBUILDS.name, "outcome" => if done { "recovered" } else { "failed" }).increment(1);
}

/// An idle device was asked for the canary.
pub fn canary_checked(healthy: bool) {
    counter!(CANARIES.name, "outcome" => if healthy { "ok" } else { "failed" }).increment(1);
}

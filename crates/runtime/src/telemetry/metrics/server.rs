//! Startup, readiness, devices and model versions: values that change rarely.

use std::time::Duration;

use metrics::{counter, gauge};

use super::definitions::{
    BUILD_INFO, DEVICE_INFO, DEVICE_REBUILDS, MODEL_LOAD_ERRORS, MODEL_RELOADS, MODEL_VERSION_INFO, READINESS, READY,
    SELF_TESTS, SHADOW_COMPARED, STARTUP_SECONDS,
};

/// All readiness states.
const STATES: [&str; 5] = ["starting", "ready", "recovering", "draining", "failed"];

/// Creates counters of rare events, starting at zero, so that the first event appears as an increase.
pub(super) fn init() {
    for outcome in ["ok", "failed"] {
        counter!(SELF_TESTS.name, "outcome" => outcome).increment(0);
    }
    for outcome in ["recovered", "failed"] {
        counter!(DEVICE_REBUILDS.name, "outcome" => outcome).increment(0);
    }
    model_load_errors(0);
}

/// Records the program's version and a served model.
pub fn build_info(model: &str, model_version: &str) {
    let (model, model_version) = (model.to_string(), model_version.to_string());
    let version = env!("CARGO_PKG_VERSION");
    gauge!(BUILD_INFO.name, "version" => version, "model" => model, "model_version" => model_version).set(1.0);
}

/// The device of a model, for [`device_info`].
#[derive(Clone, Debug)]
pub struct DeviceLabels {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// The graphics or compute API.
    pub api: String,
    /// The driver, or an empty text.
    pub driver: String,
    /// The compiler of the kernels.
    pub compiler: String,
    /// The data type of the tensors.
    pub precision: String,
    /// The implementation of the kernels.
    pub kernels: String,
}

/// Records the device of a model.
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

/// Adds the duration of a startup phase.
pub fn startup_phase(phase: &'static str, duration: Duration) {
    gauge!(STARTUP_SECONDS.name, "phase" => phase).increment(duration.as_secs_f64());
}

/// Sets the readiness state: `starting`, `ready`, `recovering`, `draining` or `failed`.
pub fn readiness(state: &'static str) {
    debug_assert!(STATES.contains(&state), "{state}");
    for each in STATES {
        gauge!(READINESS.name, "state" => each).set(f64::from(u8::from(each == state)));
    }
    gauge!(READY.name).set(f64::from(u8::from(state == "ready")));
}

/// Counts an attempt to replace a failed device.
pub fn device_rebuilt(succeeded: bool) {
    counter!(DEVICE_REBUILDS.name, "outcome" => if succeeded { "recovered" } else { "failed" }).increment(1);
}

/// Counts a self-test of an idle device.
pub fn self_test(passed: bool) {
    counter!(SELF_TESTS.name, "outcome" => if passed { "ok" } else { "failed" }).increment(1);
}

/// The outcome of assigning a label to a version while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The version is now the stable one.
    Swapped,
    /// The version does not load or fails the self-test, and is not served.
    Refused,
    /// The version was a canary or a shadow, failed, and was removed.
    Withdrawn,
}

impl ReloadOutcome {
    const ALL: [Self; 3] = [Self::Swapped, Self::Refused, Self::Withdrawn];

    fn as_str(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Creates the reload counters of a model, starting at zero.
pub fn init_model_reloads(model: &str) {
    for outcome in ReloadOutcome::ALL {
        counter!(MODEL_RELOADS.name, "model" => model.to_string(), "outcome" => outcome.as_str()).increment(0);
    }
}

/// Counts a reload of a model.
pub fn model_reload(model: &str, outcome: ReloadOutcome) {
    counter!(MODEL_RELOADS.name, "model" => model.to_string(), "outcome" => outcome.as_str()).increment(1);
}

/// Records whether a loaded version has a label.
pub fn version_label(model: &str, version: &str, label: &'static str, has: bool) {
    let (model, version) = (model.to_string(), version.to_string());
    let info = gauge!(MODEL_VERSION_INFO.name, "model" => model, "version" => version, "label" => label);
    info.set(f64::from(u8::from(has)));
}

/// Sets the number of versions in the model repository that cannot be loaded.
pub fn model_load_errors(versions: usize) {
    gauge!(MODEL_LOAD_ERRORS.name).set(versions as f64);
}

/// Counts an image that a shadow version classified, too.
pub fn shadow_compared(model: &str, version: &str, agrees: bool) {
    let agrees = if agrees { "yes" } else { "no" };
    let (model, version) = (model.to_string(), version.to_string());
    counter!(SHADOW_COMPARED.name, "model" => model, "version" => version, "agrees" => agrees).increment(1);
}

//! Brings up the devices, and on them the models with their batchers.
//!
//! | file | responsibility |
//! |---|---|
//! | `host.rs` | the devices, and how a model is brought up there |
//! | `shared.rs` | what all classifiers have together |

mod host;
mod shared;

use tokio::task::JoinError;

use kiln_classifier::batching::Worker;
use kiln_classifier::Classifier;
use crate::config::Config;
use kiln_inference::{self as inference, BurnEngine, DeviceError, PrecisionError, StartError, panic_message};
use kiln_inference::model::Model;
use kiln_runtime::readiness::Readiness;
use crate::store::{Store, StoreError};
use kiln_runtime::telemetry::metrics::ModelMetrics;

pub(super) use host::{Host, devices, measure, open, options};
use shared::Shared;

/// Why the process cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The device is not to be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// One device under two names.
    #[error("--device names {0} twice. 'kiln devices' lists what there is.")]
    Twice(String),
    /// It does not compute as was asked.
    #[error(transparent)]
    Precision(#[from] PrecisionError),
    /// A model does not run on it.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// The store of versions cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The version that is to answer cannot. No other answers in its place.
    #[error(
        "model '{model}' is not served: its stable version is '{version}', and that does not do: {reason}. Choose another with \
         'kiln models rollback {model}' or 'kiln models promote {model} VERSION'."
    )]
    Stable {
        /// The model's name.
        model: &'static str,
        /// The version.
        version: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A driver or a device runtime panicked.
    #[error(
        "the device runtime panicked while the models were loaded: {0}. Try another --device; 'kiln devices' lists them."
    )]
    Panicked(String),
}

/// There is no folder to work in.
#[derive(Debug, thiserror::Error)]
#[error("which store? Name its folder by --model-store, or KILN_MODEL_STORE; it is made if it is not there.")]
pub struct NoStore;

/// The store of versions, for who cannot do without.
pub(super) fn store(config: &Config) -> Result<Store, NoStore> {
    config.model_store.as_ref().map(Store::open).ok_or(NoStore)
}

/// Has compiled kernels kept from one start to the next. To be called while the process has one thread.
pub fn keep_caches(config: &Config) {
    if let Some(folder) = &config.inference.cache {
        inference::keep_caches(folder);
    }
}

/// Loads and warms up the stable version of the model of that name on each device, off the async threads.
pub(super) async fn engines(config: &Config, name: &str) -> Result<(Model, Vec<BurnEngine>), LoadError> {
    let (config, name) = (config.clone(), name.to_string());
    let load = move || {
        let (model, options) = (stable(&config, &name)?, options(&config));
        let devices = devices(&config)?;
        let engines = devices.iter().map(|device| host::start(&options, &model, device, &|_| ()));
        let engines = engines.collect::<Result<_, _>>()?;
        Ok((model, engines))
    };
    joined(tokio::task::spawn_blocking(load).await)
}

/// The version of a built-in model that answers where none is named. Reads files.
///
/// # Panics
///
/// There is no such model.
pub(super) fn stable(config: &Config, name: &str) -> Result<Model, LoadError> {
    let model = Model::named(name).expect("the name was checked");
    let Ok(store) = store(config) else { return Ok(model) };
    let version = store.stable(&model)?;
    store.read(&model, &version).map_err(|error| unusable(&model, &version, &error.into()))
}

/// What to say where a stable version is not to be had. Of the one that was built in, the reason says it all.
pub(super) fn unusable(model: &Model, version: &str, reason: &LoadError) -> LoadError {
    LoadError::Stable {
        model: model.spec().name,
        version: version.to_string(),
        reason: reason.to_string().trim_end_matches('.').to_string(),
    }
}

/// What a loading thread came to. Drivers and device runtimes panic where they should return.
pub(super) fn joined<T>(end: Result<Result<T, LoadError>, JoinError>) -> Result<T, LoadError> {
    end.unwrap_or_else(|error| {
        let panic = error.try_into_panic();
        Err(LoadError::Panicked(panic.map_or_else(|_| "it was cancelled".to_string(), |panic| panic_message(&*panic))))
    })
}

/// The model that `--model` names, or else the first by name, which the log tells where there is a choice.
pub(super) fn default_model(config: &Config) -> String {
    let name = config.model.clone().unwrap_or_else(|| {
        let first = Model::all().next().expect("the build refuses a program without models");
        first.spec().name.to_string()
    });
    if config.model.is_none() && Model::all().count() > 1 {
        tracing::info!(model = %name, "requests that name no model go to the first by name; --model chooses another");
    }
    name
}

/// Gives the engines of the one model of this process a queue. Needs a tokio runtime.
pub(super) fn classifier(
    config: &Config,
    model: Model,
    engines: Vec<BurnEngine>,
    readiness: Readiness,
) -> (Classifier, Worker) {
    let metrics = ModelMetrics::new(model.spec().name, model.version());
    Shared::new(config, None).queue(model, engines, readiness, metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_driver_that_panics_is_an_error_with_its_words() {
        let end = tokio::task::spawn_blocking(|| panic!("no such {}", "driver")).await;
        let sentence = joined::<()>(end).unwrap_err().to_string();
        assert!(sentence.contains("no such driver") && sentence.contains("Try another --device"), "{sentence}");
    }
}

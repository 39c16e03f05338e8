//! Typed configuration of every part of the program. Only this module and `cli` know flags, environment variables and
//! the configuration file.

mod draft;
mod inspection;
pub mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod values;
mod variables;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use kiln_runtime::telemetry::traces::Endpoint;
use kiln_runtime::{shutdown, telemetry};
use kiln_server::auth;

use draft::Draft;
pub use inspection::{Inspection, SecretFile};
use settings::SETTINGS;
pub use sources::Sources;
use values::Value;
pub use values::{CENTURY, Origin};
pub use variables::unknown_variables;

/// The configuration of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, connection limits and timeouts.
    pub server: kiln_server::Config,
    /// Certificate and private key. `None` serves plain HTTP.
    pub tls: Option<Arc<kiln_server::Tls>>,
    /// Times of the steps of shutdown.
    pub shutdown: shutdown::Config,
    /// Batches and the queue.
    pub batching: kiln_classifier::batching::Config,
    /// Accepted images.
    pub image: kiln_image::Limits,
    /// Number of threads that decode images.
    pub decode_threads: usize,
    /// The HTTP API.
    pub api: kiln_api::Config,
    /// Size of the response cache in bytes; 0 disables it.
    pub response_cache_bytes: u64,
    /// Address of the metrics, if they have a listener of their own.
    pub metrics_listen: Option<SocketAddr>,
    /// API keys and tokens.
    pub auth: auth::Config,
    /// The device and its kernels.
    pub inference: kiln_inference::Config,
    /// Name of the model for requests that name none. `None` means the first of `model_files`, or by name
    /// the first of `model_repository`, or else of the built-in models.
    pub model: Option<String>,
    /// Models to serve instead of the built-in ones: ONNX files, or folders that hold one.
    pub model_files: Vec<PathBuf>,
    /// How those files are read.
    pub model_file_options: kiln_inference::model_file::FileOptions,
    /// Folder of a model repository, whose models are served instead of the built-in ones.
    pub model_repository: Option<PathBuf>,
    /// Time between two scans of the model repository.
    pub model_poll_interval: Duration,
    /// Folder with further versions of the models. `None` serves the built-in versions only.
    pub model_store: Option<PathBuf>,
    /// What is recorded, if anything is.
    pub feedback: Option<kiln_feedback::Config>,
    /// Logs.
    pub logging: telemetry::logging::Config,
    /// The trace collector, if there is one.
    pub traces: Option<telemetry::traces::Config>,
}

/// Reports a setting that cannot be used. The message names its origin, its value and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

/// A setting that cannot be used.
#[derive(Clone, Debug)]
pub struct SettingError {
    /// Key of the setting. An invalid combination has the key of one of its settings.
    pub key: &'static str,
    /// What is wrong with it.
    pub error: ConfigError,
}

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// Returns the first value that does not parse, is out of range, or contradicts another setting.
    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigError> {
        let config = Self::read(sources)?;
        // The checks of the start, so that `kiln config check` reports the same errors.
        let error = |error: &dyn std::error::Error| ConfigError(error.to_string());
        auth::check_credentials(&config.auth, config.server.listen).map_err(|e| error(&e))?;
        auth::Keyring::load(None, config.auth.key_file.as_deref()).map_err(|e| error(&e))?;
        Ok(config)
    }

    /// Reads the settings of commands that do not serve. The settings of a server keep their defaults.
    ///
    /// # Errors
    ///
    /// Returns the first value that does not parse or is out of range.
    pub fn without_serving(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(&sources.without_serving())
    }

    fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let (config, errors) = Self::read_valid(sources);
        errors.into_iter().next().map_or(Ok(config), |first| Err(first.error))
    }

    /// Reads the settings that are valid, and returns the errors of the others, which have their defaults.
    fn read_valid(sources: &Sources) -> (Self, Vec<SettingError>) {
        let (mut draft, mut errors) = (Draft::new(), Vec::new());
        for setting in SETTINGS {
            let Some(value) = sources.value(setting.key) else { continue };
            if let Err(error) = setting.apply(&mut draft, value) {
                errors.push(SettingError { key: setting.key, error });
                let default = Value { key: setting.key, text: setting.default.to_string(), origin: Origin::Default };
                setting.apply(&mut draft, &default).expect("the default of a setting is valid");
            }
        }
        let (config, dependent) = draft.finish();
        errors.extend(dependent);
        (config, errors)
    }
}

/// Returns the folder `kiln/` in the user's cache folder, if the system has one.
fn user_cache_dir() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|user| user.cache_dir().join("kiln"))
}

/// The request of `kiln healthcheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// Address on which the server listens.
    pub listen: SocketAddr,
    /// Whether the server speaks TLS.
    pub tls: bool,
    /// Checks that the process is alive instead of ready.
    pub live: bool,
    /// Maximum time until the response, the connection included.
    pub timeout: Duration,
}

impl Healthcheck {
    /// Returns the request for a server with these settings. Only its address and whether it uses TLS are read.
    ///
    /// # Errors
    ///
    /// Returns an error if the address does not parse.
    pub fn from_sources(sources: &Sources, live: bool, timeout: Duration) -> Result<Self, ConfigError> {
        let listen = sources.value("listen").expect("'listen' has a default");
        let tls = sources.value("tls-cert").is_some_and(|value| !value.text.is_empty());
        Ok(Self { listen: settings::listen(listen)?, tls, live, timeout })
    }
}

/// Returns the table of `kiln config check`: every setting with its value and origin. Secrets are not shown.
pub fn report(sources: &Sources) -> String {
    let mut table = format!("{:<27} {:<24} ORIGIN\n", "SETTING", "VALUE");
    for setting in SETTINGS {
        let (value, origin) = match sources.get(setting.key) {
            Some((_, origin)) if setting.secret => ("(set)".to_string(), origin.to_string()),
            Some((text, origin)) => (effective(setting.key, text), origin.to_string()),
            None => ("(not set)".to_string(), "default".to_string()),
        };
        let _ = writeln!(table, "{:<27} {value:<24} {origin}", setting.key);
    }
    table
}

/// Returns a value as Kiln uses it, without secrets.
fn effective(key: &str, text: &str) -> String {
    let endpoint = (key == "otlp-endpoint").then(|| text.parse().ok()).flatten();
    endpoint.map_or_else(|| values::redacted(text), |endpoint: Endpoint| endpoint.to_string())
}

//! What the operator wants, typed: one struct a room. Together with `cli`, the only place that knows flags,
//! variables and the configuration file.
//!
//! | file | responsibility |
//! |---|---|
//! | `settings.rs` | the one table of settings |
//! | `sources.rs` | where each value comes from: flag, variable, file or default |
//! | `values.rs` | texts to typed values |
//! | `access.rs` | who may call, from several settings each |
//! | `checkup.rs` | what `kiln healthcheck` asks |
//! | `feedback.rs` | what is recorded |
//! | `traces.rs` | where traces go |
//! | `report.rs` | `kiln config check` |

mod access;
mod checkup;
mod feedback;
mod report;
pub mod settings;
mod shown;
mod sources;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
mod traces;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

use kiln_api as api;
use kiln_classifier::batching;
use kiln_image as image;
use kiln_inference as inference;
use kiln_server::auth as keys;
use kiln_server as serve;
use kiln_runtime::shutdown;
use kiln_runtime::telemetry;

pub use checkup::Checkup;
pub use report::report;
pub use sources::{Origin, Sources};
pub use values::CENTURY;
use values::Reader;

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sockets and time-outs.
    pub serve: serve::Config,
    /// The certificate, where connections are encrypted.
    pub tls: Option<Arc<serve::Tls>>,
    /// The way out.
    pub shutdown: shutdown::Config,
    /// Batches and the queue.
    pub batching: batching::Config,
    /// Which pictures are accepted.
    pub image: image::Limits,
    /// Threads that decode.
    pub decode_threads: usize,
    /// The HTTP interface.
    pub api: api::Config,
    /// Bytes that kept answers may take; none are kept at 0.
    pub cache_bytes: u64,
    /// Where the metrics are shown, if not beside everything else.
    pub metrics_listen: Option<SocketAddr>,
    /// Keys and tokens.
    pub keys: keys::Config,
    /// The device and its threads.
    pub inference: inference::Config,
    /// The model of requests that name none, one of those that were built in; the first by name where absent.
    pub model: Option<String>,
    /// Where other versions of the models are, and which one is to answer; only those that were built in where absent.
    pub model_store: Option<PathBuf>,
    /// What is recorded, if anything is.
    pub feedback: Option<kiln_feedback::Config>,
    /// Logs.
    pub logging: telemetry::logging::Config,
    /// Where traces go, if anywhere.
    pub traces: Option<telemetry::traces::Config>,
}

/// A setting that cannot be used. The text is a sentence that names where it came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(crate) String);

impl Config {
    /// Reads every setting.
    ///
    /// # Errors
    ///
    /// The first value that does not parse or is out of range.
    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigError> {
        let read = Reader(sources);
        let config = Self::read(&read)?;
        // The same sentence as at start, so that a check finds it.
        let refuse = |error: &dyn std::error::Error| ConfigError(error.to_string());
        keys::check_credentials(&config.keys, config.serve.listen).map_err(|error| refuse(&error))?;
        keys::Keyring::load(None, config.keys.key_file.as_deref()).map_err(|error| refuse(&error))?;
        Ok(config)
    }

    /// Reads the settings that commands without a server have a use for; the others stay at their defaults.
    ///
    /// # Errors
    ///
    /// The first of them that does not parse or is out of range.
    pub fn without_serving(sources: &Sources) -> Result<Self, ConfigError> {
        Self::read(&Reader(&sources.without_serving()))
    }

    fn read(read: &Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            serve: serve::Config {
                listen: read.listen()?,
                header_read_timeout: read.duration("header-timeout")?,
                body_timeout: read.duration("body-timeout")?,
                min_body_rate: read.bytes("min-body-rate", 1, 1 << 30)?,
                idle_timeout: read.duration("idle-timeout")?,
                max_connections: read.between("max-connections", 1, 1_000_000)?,
                max_header_bytes: read.bytes("max-header-bytes", 8 << 10, 1 << 20)?,
            },
            tls: tls(read)?,
            shutdown: shutdown::Config {
                drain_delay: read.duration_or_none("drain-delay")?,
                grace: read.duration("shutdown-grace")?,
            },
            batching: batching::Config {
                max_batch_size: read.between("max-batch-size", 1, 1024)?,
                max_queue_delay: read.queue_delay("max-queue-delay")?,
                queue_capacity: read.between("queue-capacity", 1, 1_000_000)?,
                self_test_interval: read.duration_or_none("self-test-interval")?,
                device_timeout: read.duration_or_none("device-timeout")?,
            },
            image: image::Limits {
                max_pixels: read.between("max-pixels", 1, 1 << 32)? as u64,
                decoded: image::DecodeBudget::new(read.bytes("max-decoded-bytes", 1 << 20, 1 << 40)? as u64),
                formats: read.parsed("formats", "extensions with commas, such as png,jpg,jpeg,gif,webp,bmp,tiff")?,
            },
            decode_threads: read
                .threads("decode-threads", std::thread::available_parallelism().map_or(1, usize::from))?,
            api: api::Config {
                max_body_bytes: read.bytes("max-body-bytes", 1, 1 << 32)?,
                max_inflight_body_bytes: read.bytes("max-inflight-body-bytes", 1, 1 << 40)?,
                max_batch_files: read.between("max-batch-files", 1, 10_000)?,
                request_timeout: read.duration("request-timeout")?,
                metrics: access::metrics(read)?,
                trusted_proxies: access::trusted_proxies(read)?,
                cors_origins: read.list("cors-origin", "SCHEME://HOST[:PORT] or *, several with commas")?,
            },
            cache_bytes: cache_bytes(read)?,
            metrics_listen: access::metrics_listen(read)?,
            keys: access::keys(read)?,
            inference: inference::Config {
                device: read
                    .parsed("device", "auto, cpu, vulkan, vulkan:N, metal, cuda or cuda:N, several with commas")?,
                threads: read.threads("threads", inference::default_threads())?,
                precision: read.parsed("precision", "f32, f16 or bf16")?,
                kernels: read.parsed("kernels", "fused, stock or auto")?,
                resize: read.parsed("resize", "gpu, cpu or auto")?,
                cache: read.text("cache-dir").map(PathBuf::from).or_else(cache_dir),
            },
            model: read.model("model")?,
            model_store: read.text("model-store").map(PathBuf::from),
            feedback: feedback::feedback(read)?,
            logging: telemetry::logging::Config {
                level: read.log_level("log-level")?,
                format: read.log_format("log-format")?,
                file: read.text("log-file").map(PathBuf::from),
                max_files: read.between("log-max-files", 1, 10_000)?,
                file_max_bytes: read.bytes("log-file-max-bytes", 64 << 10, 1 << 40)? as u64,
            },
            traces: traces::traces(read)?,
        })
    }
}

/// `kiln/` in the user's cache folder, where the system has one.
fn cache_dir() -> Option<PathBuf> {
    choose_native_strategy().ok().map(|user| user.cache_dir().join("kiln"))
}

/// Less would keep nothing at all.
const LEAST_CACHE: u64 = 64 << 10;

fn cache_bytes(read: &Reader<'_>) -> Result<u64, ConfigError> {
    let bytes = read.bytes("cache-bytes", 0, 1 << 40)? as u64;
    match bytes {
        1..LEAST_CACHE => Err(read.refuse("cache-bytes", "must be 0, for none, or at least 64KiB")),
        _ => Ok(bytes),
    }
}

/// The certificate and its key, read here so that a check finds what is wrong with them.
fn tls(read: &Reader<'_>) -> Result<Option<Arc<serve::Tls>>, ConfigError> {
    match (read.text("tls-cert"), read.text("tls-key")) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => serve::Tls::load(Path::new(certificate), Path::new(key))
            .map(|tls| Some(Arc::new(tls)))
            .map_err(|error| ConfigError(error.to_string())),
        (Some(_), None) => Err(read.refuse("tls-cert", "needs tls-key beside it: the private key of that certificate")),
        (None, Some(_)) => Err(read.refuse("tls-key", "needs tls-cert beside it: the certificate of that key")),
    }
}

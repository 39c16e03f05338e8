//! A configuration under construction. Each setting writes its value into the draft; [`Draft::finish`] then checks the
//! settings that depend on each other.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_api::MetricsAccess;
use kiln_feedback::Percentage;
use kiln_inference::model::Model;
use kiln_inference::model_file::FileOptions;
use kiln_inference::{DeviceChoice, KernelChoice, Precision, ResizeChoice};
use kiln_runtime::telemetry::logging::{self, LogFormat};
use kiln_runtime::telemetry::traces::{self, Endpoint, Headers, Ratio};
use kiln_server::auth::{self, ApiKey, JwksSource, RateLimit, ScopeClaim, ScopeMap, TokenConfig, TokenSecret};

use super::values::Value;
use super::{Config, ConfigError, SettingError};

/// A parsed value with its text and origin, for an error that only another setting reveals.
pub(super) type Given<T> = Option<(T, Value)>;

/// The configuration so far, and the settings of which several make one field of it.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) model: Given<String>,
    pub(super) tls_cert: Given<PathBuf>,
    pub(super) tls_key: Given<PathBuf>,
    pub(super) api_key: Given<String>,
    pub(super) api_key_file: Given<PathBuf>,
    pub(super) jwt_jwks: Given<JwksSource>,
    pub(super) jwt_secret: Given<TokenSecret>,
    pub(super) jwt_issuer: Given<String>,
    pub(super) jwt_audience: Given<String>,
    pub(super) jwt_scope_claim: ScopeClaim,
    pub(super) jwt_scope_map: Given<ScopeMap>,
    pub(super) jwt_rate: Given<f64>,
    pub(super) jwt_burst: Given<NonZeroU32>,
    pub(super) metrics: bool,
    pub(super) metrics_auth: bool,
    pub(super) metrics_listen: Given<SocketAddr>,
    /// Without the folder and the sample percentage, which stand in `data_dir` and `image_sample_percent`.
    pub(super) feedback: kiln_feedback::Config,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) image_sample_percent: Given<Percentage>,
    pub(super) otlp_endpoint: Option<Endpoint>,
    pub(super) otlp_headers: Headers,
    pub(super) otlp_sampling: Option<Ratio>,
}

impl Draft {
    /// Returns a draft without any setting. Every setting that has a default overwrites its field.
    pub(super) fn new() -> Self {
        let config = Config {
            server: kiln_server::Config::default(),
            tls: None,
            shutdown: kiln_runtime::shutdown::Config::default(),
            batching: kiln_classifier::batching::Config::default(),
            image: kiln_image::Limits::default(),
            decode_threads: 1,
            api: kiln_api::Config::default(),
            response_cache_bytes: 0,
            metrics_listen: None,
            auth: auth::Config { api_key: None, key_file: None, tokens: None, max_auth_failures: NonZeroU32::MIN },
            inference: kiln_inference::Config {
                device: DeviceChoice::Auto.into(),
                threads: 1,
                precision: Precision::default(),
                kernels: KernelChoice::default(),
                resize: ResizeChoice::default(),
                cache: super::user_cache_dir(),
            },
            model: None,
            model_files: Vec::new(),
            model_file_options: FileOptions::default(),
            model_repository: None,
            model_poll_interval: Duration::ZERO,
            model_store: None,
            feedback: None,
            logging: logging::Config {
                level: "info".parse().expect("'info' is a log level"),
                format: LogFormat::Text,
                file: None,
                max_files: 1,
                file_max_bytes: 0,
            },
            traces: None,
        };
        let feedback = kiln_feedback::Config {
            data_dir: PathBuf::new(),
            prediction_retention_count: 0,
            prediction_retention: Duration::ZERO,
            image_sample_percent: Percentage::default(),
            image_retention: Duration::ZERO,
            image_retention_bytes: 0,
        };
        Self {
            config,
            model: None,
            tls_cert: None,
            tls_key: None,
            api_key: None,
            api_key_file: None,
            jwt_jwks: None,
            jwt_secret: None,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_scope_claim: ScopeClaim::default(),
            jwt_scope_map: None,
            jwt_rate: None,
            jwt_burst: None,
            metrics: true,
            metrics_auth: false,
            metrics_listen: None,
            feedback,
            data_dir: None,
            image_sample_percent: None,
            otlp_endpoint: None,
            otlp_headers: Headers::default(),
            otlp_sampling: None,
        }
    }

    /// Checks the settings that depend on each other. Returns the configuration, and the error of each combination that is
    /// invalid or names a file that cannot be read, with the key of the setting; such a setting counts as not set.
    pub(super) fn finish(mut self) -> (Config, Vec<SettingError>) {
        let mut errors = Vec::new();
        self.config.model = valid("model", self.model(), &mut errors);
        self.config.tls = valid("tls-cert", self.tls(), &mut errors);
        self.config.auth.api_key = valid("api-key", self.server_key(), &mut errors);
        self.config.auth.tokens = valid("jwt-jwks", self.tokens(), &mut errors);
        self.config.api.metrics = valid("metrics", self.metrics_access(), &mut errors);
        self.config.metrics_listen = self.metrics_listen.as_ref().map(|(address, _)| *address);
        self.config.feedback = valid("data-dir", self.feedback(), &mut errors);
        self.config.traces = self.otlp_endpoint.zip(self.otlp_sampling).map(|(endpoint, sampling)| traces::Config {
            endpoint,
            headers: self.otlp_headers,
            sampling,
        });
        (self.config, errors)
    }

    /// Returns what is recorded, if anything is.
    fn feedback(&self) -> Result<Option<kiln_feedback::Config>, ConfigError> {
        match (&self.data_dir, &self.image_sample_percent) {
            (Some(folder), percent) => {
                let image_sample_percent = percent.as_ref().map_or(Percentage::default(), |(percent, _)| *percent);
                let data_dir = folder.clone();
                Ok(Some(kiln_feedback::Config { data_dir, image_sample_percent, ..self.feedback.clone() }))
            }
            (None, Some((percent, value))) if percent.fraction() > 0.0 => {
                Err(value.error("needs data-dir beside it: the folder that stores the images"))
            }
            (None, _) => Ok(None),
        }
    }

    /// Returns the name of the default model. The names of models in files are known only when the files are read.
    fn model(&self) -> Result<Option<String>, ConfigError> {
        let Some((name, value)) = &self.model else { return Ok(None) };
        let has_files = !self.config.model_files.is_empty() || self.config.model_repository.is_some();
        if !has_files && Model::named(name).is_none() {
            let names = Model::built_in_names().join(", ");
            return Err(value.error(&format!("must be a built-in model: {names}")));
        }
        Ok(Some(name.clone()))
    }

    /// Loads the certificate and its private key, so that `kiln config check` finds a broken file.
    fn tls(&self) -> Result<Option<Arc<kiln_server::Tls>>, ConfigError> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some((certificate, _)), Some((key, _))) => kiln_server::Tls::load(certificate, key)
                .map(|tls| Some(Arc::new(tls)))
                .map_err(|error| ConfigError(error.to_string())),
            (Some((_, value)), None) => {
                Err(value.error("needs tls-key beside it: the private key of that certificate"))
            }
            (None, Some((_, value))) => Err(value.error("needs tls-cert beside it: the certificate of that key")),
        }
    }

    /// Returns the API key of the server, from `api-key` or from the file of `api-key-file`.
    fn server_key(&self) -> Result<Option<ApiKey>, ConfigError> {
        let (text, value) = match (&self.api_key, &self.api_key_file) {
            (Some((_, value)), Some(_)) => {
                return Err(value.secret_error("and api-key-file are both set; remove one of them"));
            }
            (Some((key, value)), None) => (key.clone(), value),
            (None, Some((path, value))) => (read(path, value)?, value),
            (None, None) => return Ok(None),
        };
        ApiKey::parse(text.trim()).map(Some).map_err(|reason| value.secret_error(&reason))
    }

    /// Returns the settings of token verification. They are complete or absent: without an issuer or an audience, Kiln
    /// would accept tokens that the identity provider issued for other services.
    fn tokens(&self) -> Result<Option<TokenConfig>, ConfigError> {
        let Some(key) = value_of(&self.jwt_jwks).or(value_of(&self.jwt_secret)) else {
            let claims = [value_of(&self.jwt_issuer), value_of(&self.jwt_audience)];
            let others = [value_of(&self.jwt_scope_map), value_of(&self.jwt_rate), value_of(&self.jwt_burst)];
            let Some(value) = claims.into_iter().chain(others).flatten().next() else { return Ok(None) };
            return Err(
                value.error("needs jwt-jwks or jwt-secret beside it: the public keys or the secret that verify tokens")
            );
        };
        let Some(((issuer, _), (audience, _))) = self.jwt_issuer.as_ref().zip(self.jwt_audience.as_ref()) else {
            return Err(key.secret_error(
                "needs jwt-issuer and jwt-audience beside it: the issuer and the audience that a token must name",
            ));
        };
        Ok(Some(TokenConfig {
            jwks: parsed(&self.jwt_jwks),
            secret: parsed(&self.jwt_secret),
            issuer: issuer.clone(),
            audience: audience.clone(),
            scope_claim: self.jwt_scope_claim.clone(),
            scope_map: parsed(&self.jwt_scope_map).unwrap_or_default(),
            rate_limit: self.token_rate_limit()?,
        }))
    }

    /// Returns the rate limit of each subject of tokens.
    fn token_rate_limit(&self) -> Result<Option<RateLimit>, ConfigError> {
        match (&self.jwt_rate, &self.jwt_burst) {
            (None, None) => Ok(None),
            (None, Some((_, value))) => Err(value.error("needs jwt-rate beside it: the rate at which a burst refills")),
            (Some((rate, value)), burst) => {
                let value = value_of(burst).unwrap_or(value);
                RateLimit::from_settings(Some(*rate), parsed(burst))
                    .map_err(|reason| value.error(&format!("is wrong: {reason}")))
            }
        }
    }

    fn metrics_access(&self) -> Result<MetricsAccess, ConfigError> {
        match (self.metrics, self.metrics_auth, &self.metrics_listen) {
            (false, _, Some((_, value))) => {
                Err(value.error("cannot serve the metrics: 'metrics' is false; remove one of both"))
            }
            (false, _, None) => Ok(MetricsAccess::Off),
            (true, true, Some((_, value))) => {
                Err(value.error("serves the metrics without a key; remove it or metrics-auth"))
            }
            (true, true, None) => Ok(MetricsAccess::Guarded),
            (true, false, Some(_)) => Ok(MetricsAccess::Elsewhere),
            (true, false, None) => Ok(MetricsAccess::Open),
        }
    }
}

/// Returns the value, or the default after recording the error.
fn valid<T: Default>(key: &'static str, value: Result<T, ConfigError>, errors: &mut Vec<SettingError>) -> T {
    value.unwrap_or_else(|error| {
        errors.push(SettingError { key, error });
        T::default()
    })
}

/// Returns the parsed value of a setting.
fn parsed<T: Clone>(given: &Given<T>) -> Option<T> {
    given.as_ref().map(|(parsed, _)| parsed.clone())
}

/// Returns the text and the origin of a setting.
fn value_of<T>(given: &Given<T>) -> Option<&Value> {
    given.as_ref().map(|(_, value)| value)
}

fn read(path: &Path, value: &Value) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| value.error(&format!("cannot be read: {error}")))
}

//! Where traces go. Everything but the collector's address has no meaning without it.

use super::ConfigError;
use super::values::Reader;
use kiln_runtime::telemetry::traces::{Config, Endpoint, Headers, InvalidEndpoint, InvalidHeaders, InvalidRatio, Ratio};

pub(super) fn traces(read: &Reader<'_>) -> Result<Option<Config>, ConfigError> {
    let ratio: Result<Ratio, InvalidRatio> = read.required("otlp-sampling").parse();
    let sampling = ratio.map_err(|error| read.refuse("otlp-sampling", &error.to_string()))?;
    let headers = read.text("otlp-headers").map_or_else(|| Ok(Headers::default()), str::parse);
    let headers = headers.map_err(|error: InvalidHeaders| read.refuse_secret("otlp-headers", &error.to_string()))?;
    let Some(endpoint) = read.text("otlp-endpoint") else { return Ok(None) };
    // Not shown: it may hold a password.
    let endpoint: Result<Endpoint, InvalidEndpoint> = endpoint.parse();
    let endpoint = endpoint.map_err(|error| read.refuse_secret("otlp-endpoint", &error.to_string()))?;
    Ok(Some(Config { endpoint, headers, sampling }))
}

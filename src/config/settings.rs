//! Every setting, defined once: key, default, help, parser, and the field of the configuration that it sets. Flags,
//! environment variables, keys of the configuration file, `--help`, the man page, shell completions and the table in
//! `docs/settings.md` all follow from [`SETTINGS`].

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use kiln_image::DecodeBudget;
use kiln_runtime::telemetry::logging::LogFormat;
use kiln_server::auth::{RateLimit, TokenSecret};
use model_import::import::Preset;

use super::ConfigError;
use super::draft::{Draft, Given};
use super::values::{Origin, PORT, Value};
use crate::import::parse_size;

/// Parses a value and writes it into the draft.
type Apply = fn(&mut Draft, &Value) -> Result<(), ConfigError>;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Group of the setting in the help; one of the constants of this module.
    pub heading: &'static str,
    /// Name of the flag without dashes, and key in the configuration file.
    pub key: &'static str,
    /// Placeholder of the value in the help.
    pub value: &'static str,
    /// Default value as text; empty if the setting has none.
    pub default: &'static str,
    /// Help text: one or two sentences.
    pub help: &'static str,
    /// Whether the value is a secret. A secret has no flag, since other users can read command lines, and is never
    /// printed.
    pub secret: bool,
    /// The values of an enumerated setting, or the usual ones, for shell completion. Empty if there is no such list.
    pub values: &'static [&'static str],
    /// An environment variable of another convention that sets it too, if any. `KILN_*` takes precedence over it.
    pub(super) conventional: Option<&'static str>,
    apply: Apply,
}

impl Setting {
    /// Returns the environment variable of the setting: `KILN_` and the key in capitals.
    pub fn variable(&self) -> String {
        format!("KILN_{}", self.key.to_uppercase().replace('-', "_"))
    }

    /// Reports whether the setting has a meaning only for a server.
    pub(super) fn is_for_serving(&self) -> bool {
        matches!(self.heading, SERVING | ACCESS | FEEDBACK | TRACES | SHUTDOWN)
    }

    /// Parses the value and writes it into the draft. An empty text is ignored if the setting has no default.
    ///
    /// # Errors
    ///
    /// Returns an error if the value does not parse or is out of range.
    pub(super) fn apply(&self, draft: &mut Draft, value: &Value) -> Result<(), ConfigError> {
        if value.text.is_empty() && self.default.is_empty() { Ok(()) } else { (self.apply)(draft, value) }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn with_values(self, values: &'static [&'static str]) -> Self {
        Self { values, ..self }
    }

    const fn or_variable(self, name: &'static str) -> Self {
        Self { conventional: Some(name), ..self }
    }
}

/// Returns the setting of that key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const SERVING: &str = "Serving";
/// Heading of the model, the device and the kernels.
pub const MODEL: &str = "Model and device";
/// Heading of batches and the queue.
pub const BATCHING: &str = "Batching";
/// Heading of accepted images and their decoding.
pub const IMAGES: &str = "Images";
const ACCESS: &str = "Access";
const FEEDBACK: &str = "Feedback";
/// Heading of logs.
pub const LOGS: &str = "Logs";
const TRACES: &str = "Traces";
const SHUTDOWN: &str = "Shutdown";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const PIB: u64 = 1 << 50;

/// Every setting, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    setting(
        SERVING,
        "listen",
        "ADDRESS",
        "127.0.0.1:8080",
        "Address and port to listen on. If only the variable PORT is set, Kiln listens on 0.0.0.0:PORT.",
        |draft, value| set(&mut draft.config.server.listen, listen(value)),
    )
    .or_variable(PORT),
    setting(
        SERVING,
        "tls-cert",
        "FILE",
        "",
        "Serves HTTPS with this certificate chain (PEM). Kiln reloads the file when it changes.",
        |draft, value| set(&mut draft.tls_cert, given(value, value.parsed_by())),
    ),
    setting(SERVING, "tls-key", "FILE", "", "Private key of the certificate in --tls-cert (PEM).", |draft, value| {
        set(&mut draft.tls_key, given(value, value.parsed_by()))
    }),
    setting(
        SERVING,
        "max-connections",
        "N",
        "4096",
        "Maximum number of open connections. Further clients wait in the kernel's listen backlog.",
        |draft, value| set(&mut draft.config.server.max_connections, value.number(1, 1_000_000)),
    ),
    setting(
        SERVING,
        "header-timeout",
        "TIME",
        "10s",
        "Maximum time for the TLS handshake, and for a client to send the head of a request.",
        |draft, value| set(&mut draft.config.server.header_read_timeout, value.time()),
    ),
    setting(
        SERVING,
        "body-timeout",
        "TIME",
        "30s",
        "Maximum pause between two pieces of a request body.",
        |draft, value| set(&mut draft.config.server.body_timeout, value.time()),
    ),
    setting(
        SERVING,
        "min-body-rate",
        "SIZE",
        "1KiB",
        "Minimum average rate of a request body in bytes per second. Kiln checks it after the first --body-timeout.",
        |draft, value| set(&mut draft.config.server.min_body_rate, value.bytes(1, GIB)),
    ),
    setting(
        SERVING,
        "idle-timeout",
        "TIME",
        "75s",
        "Closes a connection that has no request for this long, also if the client does not read its response.",
        |draft, value| set(&mut draft.config.server.idle_timeout, value.time()),
    ),
    setting(SERVING, "max-header-bytes", "SIZE", "64KiB", "Maximum size of the head of a request.", |draft, value| {
        set(&mut draft.config.server.max_header_bytes, value.bytes(8 * KIB, MIB))
    }),
    setting(
        SERVING,
        "max-body-bytes",
        "SIZE",
        "20MiB",
        "Maximum size of a request body. Larger requests get 413.",
        |draft, value| set(&mut draft.config.api.max_body_bytes, value.bytes(1, 4 * GIB)),
    ),
    setting(
        SERVING,
        "max-inflight-body-bytes",
        "SIZE",
        "256MiB",
        "Maximum size of all request bodies in memory together. Further requests get 429.",
        |draft, value| set(&mut draft.config.api.max_inflight_body_bytes, value.bytes(1, TIB)),
    ),
    setting(
        SERVING,
        "max-batch-files",
        "N",
        "32",
        "Maximum number of files in one /predict/batch, and of rows in one inference of the Open Inference Protocol.",
        |draft, value| set(&mut draft.config.api.max_batch_files, value.number(1, 10_000)),
    ),
    setting(
        SERVING,
        "cache-bytes",
        "SIZE",
        "0",
        "Size of the response cache: Kiln answers a repeated image from memory. An entry takes about 600 bytes; 0 disables the cache.",
        |draft, value| set(&mut draft.config.response_cache_bytes, response_cache_bytes(value)),
    ),
    setting(
        SERVING,
        "request-timeout",
        "TIME",
        "30s",
        "Maximum time from the arrival of a request's headers until inference on its image begins. An image that is expected to miss this deadline gets 429, and one that misses it in the queue gets 504.",
        |draft, value| set(&mut draft.config.api.request_timeout, value.time()),
    ),
    setting(
        SERVING,
        "models",
        "FOLDER",
        "",
        "Serves the models of this folder, laid out as FOLDER/NAME/VERSION/model.onnx, and follows its changes. MODEL arguments are served beside them; of the built-in models, only the one that --model names is.",
        |draft, value| set(&mut draft.config.model_repository, value.parsed_by().map(Some)),
    ),
    setting(
        SERVING,
        "model-poll-interval",
        "TIME",
        "5s",
        "Time between two scans of the folder of --models. A file is loaded if two scans find it unchanged.",
        |draft, value| set(&mut draft.config.model_poll_interval, value.time()),
    ),
    setting(
        MODEL,
        "model",
        "NAME",
        "",
        "Model for requests that name none. Without this setting, it is the first of --model-file, or by name the first of --models, or else of the built-in models.",
        |draft, value| set(&mut draft.model, given(value, value.parsed_by())),
    ),
    setting(
        MODEL,
        "model-file",
        "PATH,..",
        "",
        "ONNX files, or folders that hold one, to use instead of the built-in models. A built-in model that --model names is served too.",
        |draft, value| set(&mut draft.config.model_files, paths(value)),
    ),
    setting(
        MODEL,
        "output",
        "NAME",
        "",
        "Output of the networks in --model-file. Without this setting, it is the only output that can be logits.",
        |draft, value| set(&mut draft.config.model_file_options.output, value.parsed_by().map(Some)),
    ),
    setting(
        MODEL,
        "input-size",
        "WIDTHxHEIGHT",
        "",
        "Image size of the networks in --model-file that leave it open.",
        |draft, value| set(&mut draft.config.model_file_options.image_size, input_size(value).map(Some)),
    ),
    setting(
        MODEL,
        "preset",
        "NAME",
        "",
        "Preprocessing of the models in --model-file, unless their model.toml sets it. 'kiln import --help' lists the presets.",
        |draft, value| set(&mut draft.config.model_file_options.preset, preset(value).map(Some)),
    )
    .with_values(&["torchvision", "torchvision-v2", "timm", "inception", "vit", "tflite", "efficientnet-lite", "plain"]),
    setting(
        MODEL,
        "model-store",
        "FOLDER",
        "",
        "Folder with further versions of the models, which 'kiln models' manages. A server loads the labelled versions and follows changes.",
        |draft, value| set(&mut draft.config.model_store, value.parsed_by().map(Some)),
    ),
    setting(
        MODEL,
        "device",
        "DEVICE",
        "auto",
        "Device to run on: auto, cpu, vulkan[:N], metal or cuda[:N]; 'kiln devices' lists them, except CUDA. Several devices, with commas, share one queue.",
        |draft, value| {
            let allowed = "auto, cpu, vulkan, vulkan:N, metal, cuda or cuda:N, several with commas";
            set(&mut draft.config.inference.device, value.parsed(allowed))
        },
    )
    .with_values(&["auto", "cpu", "vulkan", "metal", "cuda"]),
    setting(
        MODEL,
        "threads",
        "N",
        "physical cores",
        "Number of threads that the CPU device computes with.",
        |draft, value| set(&mut draft.config.inference.threads, value.threads(kiln_inference::default_threads)),
    ),
    setting(
        MODEL,
        "precision",
        "TYPE",
        "f32",
        "Number format: f32; f16, which takes less memory on a GPU; or bf16, on a CPU with AVX-512 BF16. f16 and bf16 are less exact.",
        |draft, value| set(&mut draft.config.inference.precision, value.parsed("f32, f16 or bf16")),
    )
    .with_values(&["f32", "f16", "bf16"]),
    setting(
        MODEL,
        "kernels",
        "KIND",
        "auto",
        "Kernels on a GPU: fused (Kiln's own), stock (Burn's), or auto, which measures both and takes the faster.",
        |draft, value| set(&mut draft.config.inference.kernels, value.parsed("fused, stock or auto")),
    )
    .with_values(&["auto", "fused", "stock"]),
    setting(
        MODEL,
        "resize",
        "DEVICE",
        "auto",
        "Device that resizes images: gpu, cpu or auto. auto means the GPU if it is a hardware GPU with fused kernels, and otherwise the CPU.",
        |draft, value| set(&mut draft.config.inference.resize, value.parsed("gpu, cpu or auto")),
    )
    .with_values(&["auto", "gpu", "cpu"]),
    setting(
        MODEL,
        "cache-dir",
        "FOLDER",
        "",
        "Stores compiled kernels and kernel measurements for the next start [default: kiln/ in the user's cache folder].",
        |draft, value| set(&mut draft.config.inference.cache, value.parsed_by().map(Some)),
    ),
    setting(
        MODEL,
        "self-test-interval",
        "TIME",
        "30s",
        "How often an idle device checks its results against reference logits. 0s: only at start.",
        |draft, value| set(&mut draft.config.batching.self_test_interval, value.time_or_zero()),
    ),
    setting(
        MODEL,
        "device-timeout",
        "TIME",
        "60s",
        "Exits if a batch, a self-test or the replacement of a failed device takes longer than this. 0s disables the check.",
        |draft, value| set(&mut draft.config.batching.device_timeout, value.time_or_zero()),
    ),
    setting(BATCHING, "max-batch-size", "N", "8", "Maximum number of images in one batch.", |draft, value| {
        set(&mut draft.config.batching.max_batch_size, value.number(1, 1024))
    }),
    setting(
        BATCHING,
        "max-queue-delay",
        "TIME",
        "0ms",
        "How long an image waits at most for its batch to fill while a device is free, counted from when it was queued. A longer delay allows larger batches but adds latency.",
        |draft, value| set(&mut draft.config.batching.max_queue_delay, queue_delay(value)),
    ),
    setting(
        BATCHING,
        "queue-capacity",
        "N",
        "256",
        "Maximum number of images of each loaded model version: decoding, queued and running. Further requests get 429.",
        |draft, value| set(&mut draft.config.batching.queue_capacity, value.number(1, 1_000_000)),
    ),
    setting(IMAGES, "decode-threads", "N", "all cores", "Number of threads that decode images.", |draft, value| {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        set(&mut draft.config.decode_threads, value.threads(cores))
    }),
    setting(
        IMAGES,
        "max-pixels",
        "N",
        "50000000",
        "Maximum number of pixels of an image. Kiln reads it from the header, before it decodes the image.",
        |draft, value| set(&mut draft.config.image.max_pixels, value.number(1, 1 << 32)),
    ),
    setting(
        IMAGES,
        "max-decoded-bytes",
        "SIZE",
        "512MiB",
        "Memory for all decoded images together. Further images wait; an image that alone needs more gets 413.",
        |draft, value| set(&mut draft.config.image.decode_budget, value.bytes(MIB, TIB).map(DecodeBudget::new)),
    ),
    setting(
        IMAGES,
        "formats",
        "LIST",
        "png,jpg,jpeg,gif",
        "Accepted image formats, of png, jpg, jpeg, gif, webp, bmp, tiff.",
        |draft, value| {
            let allowed = "extensions with commas, such as png,jpg,jpeg,gif,webp,bmp,tiff";
            set(&mut draft.config.image.formats, value.parsed(allowed))
        },
    )
    .with_values(&["png", "jpg", "jpeg", "gif", "webp", "bmp", "tiff"]),
    setting(
        IMAGES,
        "truncated",
        "ACTION",
        "refuse",
        "Truncated and damaged images: refuse (422) or accept. accept classifies what can be decoded, and the response has image.truncated.",
        |draft, value| set(&mut draft.config.image.truncated_images, value.parsed("refuse or accept")),
    )
    .with_values(&["refuse", "accept"]),
    setting(
        IMAGES,
        "fast-decode",
        "BOOL",
        "false",
        "Decodes JPEG at 1/2, 1/4 or 1/8 of its size where the crop stays as large as the model's input. Large photos take half the time, and scores change a little.",
        |draft, value| set(&mut draft.config.image.fast_decode, value.boolean()),
    ),
    setting(
        ACCESS,
        "api-key",
        "KEY",
        "",
        "API key with every scope, which clients send as X-API-Key or bearer token. 'kiln keygen' generates one.",
        |draft, value| set(&mut draft.api_key, given(value, value.parsed_by())),
    )
    .secret(),
    setting(ACCESS, "api-key-file", "FILE", "", "File that contains that API key.", |draft, value| {
        set(&mut draft.api_key_file, given(value, value.parsed_by()))
    }),
    setting(
        ACCESS,
        "keys",
        "FILE",
        "",
        "Key file (TOML) with further API keys and their scopes, expiry and limits; 'kiln keygen --id NAME' prints entries. \
         Kiln reloads the file when it changes.",
        |draft, value| set(&mut draft.config.auth.key_file, value.parsed_by().map(Some)),
    ),
    setting(
        ACCESS,
        "jwt-jwks",
        "FILE|URL",
        "",
        "JSON Web Key Set with the public keys that verify tokens (JWT). Kiln follows its changes.",
        |draft, value| set(&mut draft.jwt_jwks, given(value, value.parsed_by())),
    ),
    setting(
        ACCESS,
        "jwt-secret",
        "SECRET",
        "",
        "Shared secret that verifies tokens (HS256), of at least 32 bytes.",
        |draft, value| {
            let secret = TokenSecret::parse(&value.text).map_err(|reason| value.secret_error(&reason));
            set(&mut draft.jwt_secret, given(value, secret))
        },
    )
    .secret(),
    setting(ACCESS, "jwt-issuer", "NAME", "", "Required issuer of a token (claim 'iss').", |draft, value| {
        set(&mut draft.jwt_issuer, given(value, value.parsed_by()))
    }),
    setting(ACCESS, "jwt-audience", "NAME", "", "Required audience of a token (claim 'aud').", |draft, value| {
        set(&mut draft.jwt_audience, given(value, value.parsed_by()))
    }),
    setting(
        ACCESS,
        "jwt-scope-claim",
        "NAME",
        "scope",
        "Claim that lists the scopes of a token, such as roles or realm_access.roles. The default reads 'scp' too.",
        |draft, value| set(&mut draft.jwt_scope_claim, value.parsed_by()),
    ),
    setting(
        ACCESS,
        "jwt-scope-map",
        "WORD=SCOPE,..",
        "",
        "Scopes for names that the identity provider uses, such as image-users=predict,ml-ops=admin. Any other name needs the prefix 'kiln:', as in kiln:predict.",
        |draft, value| set(&mut draft.jwt_scope_map, given(value, value.parsed_by())),
    ),
    setting(
        ACCESS,
        "jwt-rate",
        "N",
        "",
        "Rate limit of each subject of tokens (claim 'sub') in requests per second. Further requests get 429.",
        |draft, value| set(&mut draft.jwt_rate, given(value, token_rate(value))),
    ),
    setting(
        ACCESS,
        "jwt-burst",
        "N",
        "",
        "Maximum number of requests of a subject at once [default: the requests of one second].",
        |draft, value| set(&mut draft.jwt_burst, given(value, value.parsed("a whole number from 1 to 4294967295"))),
    ),
    setting(
        ACCESS,
        "max-auth-failures",
        "N",
        "60",
        "Failed authentications allowed per minute and client address (in IPv6, per /64 network). An address that exceeds it gets 429 for all requests until it is below the rate again.",
        |draft, value| set(&mut draft.config.auth.max_auth_failures, auth_failures(value)),
    ),
    setting(
        ACCESS,
        "trusted-proxy",
        "CIDR,..",
        "",
        "Networks of trusted proxies, such as 10.0.0.0/8. Kiln takes the client address from the header of such a proxy.",
        |draft, value| set(&mut draft.config.api.trusted_proxies.networks, networks(value)),
    ),
    setting(
        ACCESS,
        "forwarded-header",
        "NAME",
        "x-forwarded-for",
        "Header in which trusted proxies send the client address: x-forwarded-for or forwarded.",
        |draft, value| set(&mut draft.config.api.trusted_proxies.header, value.parsed("x-forwarded-for or forwarded")),
    )
    .with_values(&["x-forwarded-for", "forwarded"]),
    setting(ACCESS, "metrics", "BOOL", "true", "Collects metrics and serves them at GET /metrics.", |draft, value| {
        set(&mut draft.metrics, value.boolean())
    }),
    setting(
        ACCESS,
        "metrics-auth",
        "BOOL",
        "false",
        "Serves the metrics only to keys with the scope 'metrics'.",
        |draft, value| set(&mut draft.metrics_auth, value.boolean()),
    ),
    setting(
        ACCESS,
        "metrics-listen",
        "ADDRESS",
        "",
        "Serves the metrics at this address only, such as 127.0.0.1:9090, without a key.",
        |draft, value| {
            let address = value.parsed("an address and a port, such as 127.0.0.1:9090");
            set(&mut draft.metrics_listen, given(value, address))
        },
    ),
    setting(
        ACCESS,
        "cors-origin",
        "LIST",
        "",
        "Origins whose web pages may call the API (CORS), with commas, such as https://app.example. * allows all; by default, none may.",
        |draft, value| {
            let allowed = "SCHEME://HOST[:PORT] or *, several with commas";
            set(&mut draft.config.api.cors_origins, value.list(allowed))
        },
    ),
    setting(
        FEEDBACK,
        "data-dir",
        "FOLDER",
        "",
        "Folder in which Kiln records predictions and accepts feedback on them. Without it, nothing is recorded.",
        |draft, value| set(&mut draft.data_dir, value.parsed_by().map(Some)),
    ),
    setting(
        FEEDBACK,
        "prediction-retention-count",
        "N",
        "100000",
        "Maximum number of recorded predictions without feedback. Predictions with feedback are kept forever.",
        |draft, value| set(&mut draft.feedback.prediction_retention_count, value.number(1, 1_000_000_000)),
    ),
    setting(
        FEEDBACK,
        "prediction-retention",
        "TIME",
        "30d",
        "How long Kiln keeps predictions without feedback.",
        |draft, value| set(&mut draft.feedback.prediction_retention, value.retention()),
    ),
    setting(
        FEEDBACK,
        "image-sample-percent",
        "PERCENT",
        "0",
        "Percentage of images that Kiln stores with their predictions, to train with. The choice depends on the image alone, so a repeated \
         image is stored always or never.",
        |draft, value| {
            let percent = value.parsed("a percentage from 0 to 100, such as 5 or 0.5");
            set(&mut draft.image_sample_percent, given(value, percent))
        },
    ),
    setting(
        FEEDBACK,
        "image-retention",
        "TIME",
        "30d",
        "How long Kiln keeps a stored image after a client last sent it.",
        |draft, value| set(&mut draft.feedback.image_retention, value.retention()),
    ),
    setting(
        FEEDBACK,
        "image-retention-bytes",
        "SIZE",
        "1GiB",
        "Maximum size of all stored images together. Kiln deletes the oldest images without feedback first, and images with feedback last.",
        |draft, value| set(&mut draft.feedback.image_retention_bytes, value.bytes(0, PIB)),
    ),
    setting(
        LOGS,
        "log-level",
        "LEVEL",
        "info",
        "off, error, warn, info, debug, trace, or directives such as 'warn,kiln=debug'. The target 'kiln::access' logs each answered request.",
        |draft, value| set(&mut draft.config.logging.level, value.parsed_by()),
    )
    .with_values(&["off", "error", "warn", "info", "debug", "trace"]),
    setting(LOGS, "log-format", "FORMAT", "text", "Format of log lines: text or json.", |draft, value| {
        set(&mut draft.config.logging.format, log_format(value))
    })
    .with_values(&["text", "json"]),
    setting(
        LOGS,
        "log-file",
        "FILE",
        "",
        "Writes the log to this file as well. Each day has its own file: Kiln appends the date (UTC) to the name.",
        |draft, value| set(&mut draft.config.logging.file, value.parsed_by().map(Some)),
    ),
    setting(
        LOGS,
        "log-max-files",
        "N",
        "14",
        "Maximum number of log files. Kiln deletes the oldest.",
        |draft, value| set(&mut draft.config.logging.max_files, value.number(1, 10_000)),
    ),
    setting(
        LOGS,
        "log-file-max-bytes",
        "SIZE",
        "1GiB",
        "Maximum size of a log file. A day with more log lines has several files.",
        |draft, value| set(&mut draft.config.logging.file_max_bytes, value.bytes(64 * KIB, TIB)),
    ),
    setting(
        TRACES,
        "otlp-endpoint",
        "URL",
        "",
        "OpenTelemetry collector that receives traces (OTLP over HTTP), such as http://127.0.0.1:4318. \
         OTEL_EXPORTER_OTLP_ENDPOINT sets it too.",
        |draft, value| set(&mut draft.otlp_endpoint, value.parsed_secret().map(Some)),
    )
    .or_variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
    setting(
        TRACES,
        "otlp-headers",
        "NAME=VALUE,..",
        "",
        "HTTP headers for the collector, such as an API key. OTEL_EXPORTER_OTLP_HEADERS sets them too.",
        |draft, value| set(&mut draft.otlp_headers, value.parsed_secret()),
    )
    .secret()
    .or_variable("OTEL_EXPORTER_OTLP_HEADERS"),
    setting(
        TRACES,
        "otlp-sampling",
        "RATIO",
        "1",
        "Fraction of traces to record, from 0 to 1. The caller's sampling decision takes precedence.",
        |draft, value| set(&mut draft.otlp_sampling, value.parsed_by().map(Some)),
    ),
    setting(
        SHUTDOWN,
        "drain-delay",
        "TIME",
        "0s",
        "How long Kiln still accepts requests after SIGTERM while it reports that it is not ready.",
        |draft, value| set(&mut draft.config.shutdown.drain_delay, value.time_or_zero()),
    ),
    setting(
        SHUTDOWN,
        "shutdown-grace",
        "TIME",
        "30s",
        "Maximum time at shutdown to complete the requests in flight.",
        |draft, value| set(&mut draft.config.shutdown.grace, value.time()),
    ),
];

const fn setting(
    heading: &'static str,
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    apply: Apply,
) -> Setting {
    Setting { heading, key, value, default, help, secret: false, values: &[], conventional: None, apply }
}

fn set<T>(field: &mut T, value: Result<T, ConfigError>) -> Result<(), ConfigError> {
    *field = value?;
    Ok(())
}

fn given<T>(value: &Value, parsed: Result<T, ConfigError>) -> Result<Given<T>, ConfigError> {
    Ok(Some((parsed?, value.clone())))
}

/// Parses the address to listen on.
pub(super) fn listen(value: &Value) -> Result<SocketAddr, ConfigError> {
    let is_port = matches!(&value.origin, Origin::Variable(name) if name == PORT);
    value.parsed(if is_port { "a port, such as 8080" } else { "an address and a port, such as 127.0.0.1:8080" })
}

fn response_cache_bytes(value: &Value) -> Result<u64, ConfigError> {
    // A smaller cache has no room for an entry.
    const MIN: u64 = 64 * KIB;
    match value.bytes(0, TIB)? {
        1..MIN => Err(value.error("must be 0, which disables the cache, or at least 64KiB")),
        bytes => Ok(bytes),
    }
}

/// Parses paths with commas.
fn paths(value: &Value) -> Result<Vec<PathBuf>, ConfigError> {
    let paths: Vec<PathBuf> = value.text.split(',').map(|path| PathBuf::from(path.trim())).collect();
    match paths.iter().all(|path| !path.as_os_str().is_empty()) {
        true => Ok(paths),
        false => Err(value.error("must be files or folders with commas, such as resnet50.onnx,models/vit")),
    }
}

/// Parses `WIDTHxHEIGHT` as height and width.
fn input_size(value: &Value) -> Result<[usize; 2], ConfigError> {
    let [width, height] = parse_size(&value.text).map_err(|reason| value.error(&format!("is wrong: {reason}")))?;
    Ok([height as usize, width as usize])
}

fn preset(value: &Value) -> Result<&'static Preset, ConfigError> {
    value.text.parse::<&'static Preset>().map_err(|error| value.error(&format!("is wrong: {error}")))
}

/// Parses a queue delay, which the batcher limits to a minute.
fn queue_delay(value: &Value) -> Result<Duration, ConfigError> {
    let delay = value.time_or_zero()?;
    if delay > Duration::from_secs(60) { Err(value.error("must be at most a minute")) } else { Ok(delay) }
}

fn token_rate(value: &Value) -> Result<f64, ConfigError> {
    let rate = value.text.parse::<f64>().ok().filter(|rate| RateLimit::ALLOWED_RATES.contains(rate));
    rate.ok_or_else(|| value.error("must be a number of requests per second from 0.001 to 1000000"))
}

fn auth_failures(value: &Value) -> Result<NonZeroU32, ConfigError> {
    value.number(1, 1_000_000).map(|number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
}

/// Parses networks with commas. An address alone is a network of one address.
fn networks(value: &Value) -> Result<Vec<IpNet>, ConfigError> {
    let elements = value.text.split(',').map(str::trim).filter(|element| !element.is_empty());
    let parsed = elements.map(|element| element.parse().or_else(|_| element.parse().map(network_of)));
    parsed
        .collect::<Result<Vec<_>, std::net::AddrParseError>>()
        .map_err(|_| value.error("must be networks with commas, such as 10.0.0.0/8,192.0.2.7"))
}

fn network_of(address: std::net::IpAddr) -> IpNet {
    address.into()
}

fn log_format(value: &Value) -> Result<LogFormat, ConfigError> {
    match value.text.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(value.error("must be text or json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the table of docs/settings.md.
    fn documented_table() -> String {
        let mut table = String::from("| setting | variable | default | what it does |\n|---|---|---|---|\n");
        let mut heading = "";
        for setting in SETTINGS {
            if setting.heading != heading {
                heading = setting.heading;
                table.push_str(&format!("| **{heading}** | | | |\n"));
            }
            table.push_str(&row(setting));
        }
        table
    }

    fn row(setting: &Setting) -> String {
        let Setting { key, value, default, help, secret, .. } = *setting;
        let flag = match value {
            _ if secret => format!("{key} (no flag)"),
            // The flag alone means true; a value follows with an equals sign.
            "BOOL" => format!("`--{key}[=BOOL]`"),
            _ => format!("`--{key} {value}`"),
        };
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        // A vertical bar would end the cell.
        let cells =
            [flag, format!("`{}`", setting.variable()), default, help.to_string()].map(|cell| cell.replace('|', "\\|"));
        format!("| {} |\n", cells.join(" | "))
    }

    #[test]
    fn documented_table_lists_every_setting() {
        kiln_runtime::doc_tables::assert_table("docs/settings.md", "src/config/settings.rs", &documented_table());
    }

    #[test]
    fn settings_are_grouped_by_heading() {
        let mut headings: Vec<&str> = SETTINGS.iter().map(|setting| setting.heading).collect();
        headings.dedup();
        let count = headings.len();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), count, "a heading stands in two places");
    }
}

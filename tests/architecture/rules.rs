//! The rules: who may import whom, and who owns which outside crate.

use std::collections::BTreeMap;

/// What each room may import of the rooms below it.
pub fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("main", &["app", "cli", "keys"][..]),
        ("cli", &["bench", "config", "inference", "keys"]),
        ("config", &["api", "batching", "image", "inference", "keys", "model", "serve", "shutdown", "telemetry"]),
        (
            "app",
            &[
                "api",
                "batching",
                "bench",
                "classifier",
                "config",
                "image",
                "inference",
                "keys",
                "model",
                "readiness",
                "registry",
                "serve",
                "shutdown",
                "telemetry",
            ],
        ),
        ("api", &["classifier", "keys", "model", "oip", "readiness", "registry", "serve", "telemetry"]),
        ("registry", &["classifier"]),
        ("classifier", &["batching", "image", "inference", "model", "telemetry"]),
        ("batching", &["image", "inference", "readiness", "standing", "telemetry"]),
        ("inference", &["image", "model", "telemetry"]),
        ("serve", &["shutdown", "telemetry", "watched"]),
        ("shutdown", &["readiness"]),
        ("bench", &[]),
        ("image", &["telemetry"]),
        ("keys", &["standing", "watched"]),
        ("model", &[]),
        ("oip", &[]),
        ("readiness", &["telemetry"]),
        ("standing", &[]),
        ("telemetry", &[]),
        ("watched", &[]),
    ])
}

/// Outside crates that only some rooms may name.
pub const OWNERS: [(&str, &[&str]); 44] = [
    ("burn", &["inference"]),
    ("burn_wgpu", &["inference"]),
    ("kiln_kernels", &["inference"]),
    ("model_import", &["inference", "model", "classifier"]),
    ("poem", &["api", "serve"]),
    ("poem_openapi", &["api"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("tokio_rustls", &["keys", "serve", "telemetry"]),
    ("http_body_util", &["serve"]),
    ("serde", &["bench", "keys", "oip"]),
    ("serde_json", &["api", "app", "bench", "keys", "oip"]),
    ("half", &["oip"]),
    ("flate2", &["api"]),
    ("uuid", &["api", "classifier", "telemetry"]),
    ("image", &["image"]),
    ("zune_jpeg", &["image"]),
    ("zune_core", &["image"]),
    ("turbojpeg", &["image"]),
    ("fast_image_resize", &["image"]),
    ("rayon", &["image"]),
    ("sha2", &["api", "keys"]),
    ("subtle", &["keys"]),
    ("base64", &["api", "keys"]),
    ("getrandom", &["keys"]),
    ("governor", &["keys"]),
    ("ipnet", &["api", "config"]),
    ("jsonwebtoken", &["keys"]),
    ("ring", &["keys"]),
    ("signature", &["keys"]),
    ("ureq", &["keys", "telemetry"]),
    ("rlimit", &["serve"]),
    ("clap", &["cli"]),
    ("toml", &["config", "keys"]),
    ("etcetera", &["config"]),
    ("humantime", &["app", "cli", "config", "keys", "telemetry"]),
    ("bytesize", &["app", "config"]),
    ("indicatif", &["app"]),
    ("tracing_subscriber", &["telemetry"]),
    ("tracing_appender", &["telemetry"]),
    ("metrics_process", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("percent_encoding", &["telemetry"]),
];

/// Outside crates that any room may name; the two of metrics share names with a room's own file.
pub const ANYWHERE: [&str; 7] =
    ["bytes", "futures_util", "metrics", "metrics_exporter_prometheus", "thiserror", "tokio", "tracing"];

//! The one table of settings: flag, variable, file key and help all come from here.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key in the file.
    pub key: &'static str,
    /// What its value is called in the help.
    pub value: &'static str,
    /// Where it stands in the help.
    pub heading: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its value where nobody gives one; empty where there is none.
    pub default: &'static str,
    /// True for secrets: no flag, since other users can see command lines, and never shown.
    pub secret: bool,
}

impl Setting {
    /// Whether it means nothing where there is no server.
    pub(super) fn is_for_serving(&self) -> bool {
        matches!(self.heading, SERVING | ACCESS | FEEDBACK | TRACES | SHUTDOWN)
    }

    /// The environment variable: `KILN_` and the key in capitals.
    pub fn variable(&self) -> String {
        format!("KILN_{}", self.key.to_uppercase().replace('-', "_"))
    }
}

const fn row(
    heading: &'static str,
    key: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting { key, value, heading, help, default, secret: false }
}

const SERVING: &str = "Serving";
/// The heading of what the models run on.
pub const MODEL: &str = "Model and device";
/// The heading of batches and the queue.
pub const BATCHING: &str = "Batching";
/// The heading of what pictures are accepted, and how they are decoded.
pub const PICTURES: &str = "Pictures";
const ACCESS: &str = "Access";
const FEEDBACK: &str = "Feedback";
/// The heading of logs.
pub const LOGS: &str = "Logs";
const TRACES: &str = "Traces";
const SHUTDOWN: &str = "Shutdown";

/// Every setting, in the order of the help.
pub static SETTINGS: &[Setting] = &[
    row(SERVING, "listen", "ADDRESS", "127.0.0.1:8080", "Address and port to listen on; PORT alone means 0.0.0.0:PORT"),
    row(
        SERVING,
        "tls-cert",
        "FILE",
        "",
        "Serve over TLS with this certificate chain (PEM); read again when it changes",
    ),
    row(SERVING, "tls-key", "FILE", "", "The private key of that certificate (PEM)"),
    row(SERVING, "max-connections", "N", "4096", "Connections that are served at once; more wait in the kernel"),
    row(SERVING, "header-timeout", "TIME", "10s", "How long a client may take to send a request's head"),
    row(SERVING, "body-timeout", "TIME", "30s", "The longest pause between two pieces of a body"),
    row(
        SERVING,
        "min-body-rate",
        "SIZE",
        "1KiB",
        "Bytes of a body that must come each second on the whole, after a first --body-timeout",
    ),
    row(SERVING, "idle-timeout", "TIME", "75s", "How long an unused connection is kept"),
    row(SERVING, "max-header-bytes", "SIZE", "64KiB", "The largest head of a request"),
    row(SERVING, "max-body-bytes", "SIZE", "20MiB", "The largest body of a request"),
    row(
        SERVING,
        "max-inflight-body-bytes",
        "SIZE",
        "256MiB",
        "Bytes of all requests' bodies that are held at once; more get 429",
    ),
    row(SERVING, "max-batch-files", "N", "32", "The most files in one /predict/batch, and rows in one inference"),
    row(
        SERVING,
        "cache-bytes",
        "SIZE",
        "0",
        "Keep answers of this size together, for pictures that are asked again; 0: none. About 600 bytes an answer",
    ),
    row(SERVING, "request-timeout", "TIME", "30s", "A picture that has waited longer is not run any more"),
    row(MODEL, "model", "NAME", "", "The model of requests that name none; the first by name if absent"),
    row(
        MODEL,
        "model-store",
        "FOLDER",
        "",
        "Where 'kiln models' keeps versions with other weights; the server does what their labels say, and follows them",
    ),
    row(
        MODEL,
        "device",
        "DEVICE",
        "auto",
        "auto, cpu, vulkan[:N], metal or cuda[:N]; 'kiln devices' lists them. Several with commas share the queue",
    ),
    row(MODEL, "threads", "N", "physical cores", "Threads that the CPU device computes with"),
    row(
        MODEL,
        "precision",
        "TYPE",
        "f32",
        "f32; on a GPU f16, which takes less memory; on a CPU with AVX-512 BF16 bf16; both are less exact",
    ),
    row(
        MODEL,
        "kernels",
        "KIND",
        "auto",
        "What computes on a GPU: fused (Kiln's own), stock (Burn's), or auto, the quicker one by a measurement",
    ),
    row(
        MODEL,
        "resize",
        "WHO",
        "auto",
        "Who resizes pictures: gpu, cpu, or auto, which is a real GPU with fused kernels, and else the CPU",
    ),
    row(
        MODEL,
        "cache-dir",
        "FOLDER",
        "",
        "Keeps compiled kernels and measurements for the next start [default: kiln/ in the user's cache folder]",
    ),
    row(
        MODEL,
        "self-test-interval",
        "TIME",
        "30s",
        "How often an idle device proves on a known picture that it computes rightly; 0s: only at the start",
    ),
    row(
        MODEL,
        "device-timeout",
        "TIME",
        "60s",
        "A device that takes longer for a batch, to check itself or to be replaced hangs, and the process ends; 0s: never",
    ),
    row(BATCHING, "max-batch-size", "N", "8", "The most pictures in one batch"),
    row(BATCHING, "max-queue-delay", "TIME", "0ms", "How long a batch waits to fill up although the engine is free"),
    row(BATCHING, "queue-capacity", "N", "256", "Pictures held at once, decoding and running included; more get 429"),
    row(PICTURES, "decode-threads", "N", "all cores", "Threads that decode pictures"),
    row(PICTURES, "max-pixels", "N", "50000000", "The most pixels of a picture, by its header"),
    row(
        PICTURES,
        "max-decoded-bytes",
        "SIZE",
        "512MiB",
        "Bytes that all decoded pictures take together; more wait, and a picture that alone takes more gets 413",
    ),
    row(
        PICTURES,
        "formats",
        "LIST",
        "png,jpg,jpeg,gif",
        "All formats that are accepted, of png, jpg, jpeg, gif, webp, bmp, tiff",
    ),
    Setting {
        secret: true,
        ..row(ACCESS, "api-key", "KEY", "", "The key that callers must send; 'kiln keygen' makes one")
    },
    row(ACCESS, "api-key-file", "FILE", "", "A file that holds that key"),
    row(
        ACCESS,
        "keys",
        "FILE",
        "",
        "More keys, with scopes, ends and limits (TOML; 'kiln keygen --id NAME' writes entries); read again when it changes",
    ),
    row(
        ACCESS,
        "jwt-jwks",
        "FILE|URL",
        "",
        "Accept tokens (JWT) that these public keys verify: a JSON Web Key Set, followed when it changes",
    ),
    Setting {
        secret: true,
        ..row(
            ACCESS,
            "jwt-secret",
            "SECRET",
            "",
            "Accept tokens that are signed with this secret (HS256), 32 bytes or more",
        )
    },
    row(ACCESS, "jwt-issuer", "NAME", "", "Who must have made a token: its 'iss'"),
    row(ACCESS, "jwt-audience", "NAME", "", "Whom a token must be for: its 'aud'"),
    row(
        ACCESS,
        "max-auth-failures",
        "N",
        "60",
        "Wrong keys and tokens a minute that are borne from one address; more get 429",
    ),
    row(
        ACCESS,
        "trusted-proxy",
        "CIDR,..",
        "",
        "Networks of proxies that are believed when they tell whom they speak for, such as 10.0.0.0/8",
    ),
    row(
        ACCESS,
        "forwarded-header",
        "NAME",
        "x-forwarded-for",
        "The header in which they tell it: x-forwarded-for or forwarded",
    ),
    row(ACCESS, "metrics", "BOOL", "true", "Measure what the server does, for GET /metrics"),
    row(ACCESS, "metrics-auth", "BOOL", "false", "Show the metrics only to keys with the scope 'metrics'"),
    row(
        ACCESS,
        "metrics-listen",
        "ADDRESS",
        "",
        "Show the metrics at this address alone, such as 127.0.0.1:9090, without a key",
    ),
    row(
        ACCESS,
        "cors-origin",
        "LIST",
        "",
        "Origins whose web pages may call, such as https://app.example, with commas; * for all, none if absent",
    ),
    row(
        FEEDBACK,
        "data-dir",
        "FOLDER",
        "",
        "Record predictions in this folder, and take feedback on them; nothing is recorded if absent",
    ),
    row(
        FEEDBACK,
        "prediction-retention-count",
        "N",
        "100000",
        "The most predictions without feedback that are kept; those with feedback stay for good",
    ),
    row(FEEDBACK, "prediction-retention", "TIME", "30d", "How long predictions without feedback are kept"),
    row(
        FEEDBACK,
        "image-sample-percent",
        "PERCENT",
        "0",
        "Which part of the pictures is kept beside their predictions, to train with; the same picture always is, or never",
    ),
    row(FEEDBACK, "image-retention", "TIME", "30d", "How long a picture is kept after it was last sent"),
    row(
        FEEDBACK,
        "image-retention-bytes",
        "SIZE",
        "1GiB",
        "Bytes of all pictures that are kept; the oldest without feedback go first, those with feedback last",
    ),
    row(
        LOGS,
        "log-level",
        "LEVEL",
        "info",
        "off, error, warn, info, debug, trace, or directives such as 'warn,kiln=debug'; answered requests are 'kiln::access'",
    ),
    row(LOGS, "log-format", "FORMAT", "text", "text or json"),
    row(LOGS, "log-file", "FILE", "", "Log to this file too; the day (UTC) is appended to its name"),
    row(LOGS, "log-max-files", "N", "14", "How many such files are kept; the oldest are deleted"),
    row(LOGS, "log-file-max-bytes", "SIZE", "1GiB", "The largest such file; a day with more has several"),
    row(
        TRACES,
        "otlp-endpoint",
        "URL",
        "",
        "Send traces to this OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318; or OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    Setting {
        secret: true,
        ..row(
            TRACES,
            "otlp-headers",
            "NAME=VALUE,..",
            "",
            "Headers for it, such as a key; or OTEL_EXPORTER_OTLP_HEADERS",
        )
    },
    row(
        TRACES,
        "otlp-sampling",
        "RATIO",
        "1",
        "The part of traces that are recorded, from 0 to 1; where the caller has decided, that holds",
    ),
    row(SHUTDOWN, "drain-delay", "TIME", "0s", "How long requests are still taken after SIGTERM, with readiness off"),
    row(SHUTDOWN, "shutdown-grace", "TIME", "30s", "How long what is in flight may take at the end"),
];

/// The setting of that key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

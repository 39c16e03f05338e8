//! Tests of the configuration from all its sources.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;

use super::settings::Setting;
use super::*;

const KEY: &str = "kiln_a-key-that-is-long-enough";

/// Flags, variables and a configuration file.
struct Inputs {
    flags: BTreeMap<&'static str, String>,
    env: BTreeMap<String, String>,
    file: Option<tempfile::NamedTempFile>,
}

impl Inputs {
    fn nothing() -> Self {
        Self { flags: BTreeMap::new(), env: BTreeMap::new(), file: None }
    }

    fn flag(mut self, key: &'static str, value: &str) -> Self {
        self.flags.insert(key, value.to_string());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_string(), value.to_string());
        self
    }

    fn file(mut self, text: &str) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self.file = Some(file);
        self
    }

    fn sources(&self) -> Result<Sources, ConfigError> {
        let env = |name: &str| self.env.get(name).map(OsString::from);
        Sources::gather(&self.flags, &env, self.file.as_ref().map(tempfile::NamedTempFile::path))
    }

    fn config(&self) -> Result<Config, ConfigError> {
        self.sources().and_then(|sources| Config::from_sources(&sources))
    }

    fn error(&self) -> String {
        self.config().unwrap_err().to_string()
    }
}

#[test]
fn defaults_equal_those_of_each_crate() {
    let config = Inputs::nothing().config().unwrap();
    assert_eq!(config.server, kiln_server::Config::default());
    assert_eq!(config.batching, kiln_classifier::batching::Config::default());
    assert_eq!(config.shutdown, kiln_runtime::shutdown::Config::default());
    assert_eq!(config.image.formats, kiln_image::FormatSet::default());
    assert_eq!(config.image.max_pixels, kiln_image::Limits::default().max_pixels);
    assert!(config.auth.api_key.is_none());
    assert!(config.decode_threads >= 1);
}

#[test]
fn precedence_is_flag_variable_file_default() {
    let size = |inputs: &Inputs| inputs.config().unwrap().batching.max_batch_size;
    let inputs = Inputs::nothing();
    assert_eq!(size(&inputs), 8);
    let inputs = inputs.file("max-batch-size = 4\n");
    assert_eq!(size(&inputs), 4);
    let inputs = inputs.env("KILN_MAX_BATCH_SIZE", "16");
    assert_eq!(size(&inputs), 16);
    let inputs = inputs.flag("max-batch-size", "32");
    assert_eq!(size(&inputs), 32);
}

#[test]
fn every_setting_is_read_from_variable_and_file() {
    for setting in SETTINGS {
        let value = if setting.default.is_empty() { KEY } else { setting.default };
        let inputs = Inputs::nothing().env(&setting.variable(), value);
        let origin = inputs.sources().unwrap().get(setting.key).unwrap().1.clone();
        assert_eq!(origin, Origin::Variable(setting.variable()));
        let inputs = Inputs::nothing().file(&format!("{} = '{value}'\n", setting.key));
        assert!(matches!(inputs.sources().unwrap().get(setting.key), Some((_, Origin::File(_)))), "{}", setting.key);
    }
}

#[test]
fn port_variable_listens_on_all_interfaces_unless_an_address_is_set() {
    let listen = |inputs: Inputs| inputs.env("KILN_API_KEY", KEY).config().unwrap().server.listen.to_string();
    assert_eq!(listen(Inputs::nothing().env("PORT", "5000")), "0.0.0.0:5000");
    assert_eq!(listen(Inputs::nothing().env("PORT", "5000").file("listen = '127.0.0.1:1'")), "0.0.0.0:5000");
    assert_eq!(listen(Inputs::nothing().env("PORT", "5000").env("KILN_LISTEN", "127.0.0.1:1")), "127.0.0.1:1");
    assert_eq!(listen(Inputs::nothing().env("PORT", "5000").flag("listen", "127.0.0.1:2")), "127.0.0.1:2");
}

#[test]
fn kiln_variable_precedes_opentelemetry_variable() {
    let endpoint = |inputs: Inputs| inputs.config().unwrap().traces.map(|traces| traces.endpoint.to_string());
    assert_eq!(endpoint(Inputs::nothing()), None);
    let inputs = || Inputs::nothing().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    assert_eq!(endpoint(inputs()).as_deref(), Some("http://a:1/v1/traces"));
    assert_eq!(endpoint(inputs().file("otlp-endpoint = 'http://b:1'")).as_deref(), Some("http://a:1/v1/traces"));
    assert_eq!(endpoint(inputs().env("KILN_OTLP_ENDPOINT", "http://b:1")).as_deref(), Some("http://b:1/v1/traces"));
    let origin = inputs().sources().unwrap().get("otlp-endpoint").unwrap().1.clone();
    assert_eq!(origin, Origin::Variable("OTEL_EXPORTER_OTLP_ENDPOINT".to_string()));
}

#[test]
fn values_with_units_are_parsed() {
    let inputs =
        Inputs::nothing().flag("max-queue-delay", "5ms").flag("shutdown-grace", "1m").flag("max-body-bytes", "3MiB");
    let config = inputs.config().unwrap();
    assert_eq!(config.batching.max_queue_delay, Duration::from_millis(5));
    assert_eq!(config.shutdown.grace, Duration::from_secs(60));
    assert_eq!(config.api.max_body_bytes, 3 << 20);
    assert!(config.feedback.is_none());
    let inputs = Inputs::nothing()
        .flag("data-dir", "data")
        .flag("prediction-retention", "90d")
        .flag("image-sample-percent", "2.5");
    let feedback = inputs.config().unwrap().feedback.unwrap();
    assert_eq!(feedback.prediction_retention, Duration::from_secs(90 * 24 * 60 * 60));
    assert_eq!(feedback.image_sample_percent.fraction(), 0.025);
}

#[test]
fn empty_variable_counts_as_not_set() {
    let variables = SETTINGS.iter().map(Setting::variable).chain(["PORT".to_string()]);
    let inputs = variables.fold(Inputs::nothing(), |inputs, name| inputs.env(&name, "")).file("max-batch-size = 4\n");
    let config = inputs.config().unwrap();
    assert_eq!(config.batching.max_batch_size, 4);
    assert_eq!(config.server, kiln_server::Config::default());
    assert!(config.auth.api_key.is_none() && config.logging.file.is_none());
}

#[test]
fn report_lists_every_setting_with_origin_and_no_secret() {
    let inputs = Inputs::nothing().env("KILN_API_KEY", KEY).flag("listen", "127.0.0.1:1");
    let inputs = inputs.env("KILN_OTLP_ENDPOINT", "https://api.example/?key=hunter2");
    let inputs = inputs.flag("jwt-jwks", "https://id.example/keys?key=hunter2");
    let report = report(&inputs.sources().unwrap());
    assert!(!report.contains(KEY) && !report.contains("hunter2"), "{report}");
    assert!(report.contains("https://api.example/v1/traces KILN_OTLP_ENDPOINT"), "{report}");
    assert!(report.contains("https://id.example/keys"), "{report}");
    for setting in SETTINGS {
        assert!(report.lines().any(|line| line.starts_with(setting.key)), "{}", setting.key);
    }
    assert!(report.contains("(set)                    KILN_API_KEY"), "{report}");
    assert!(report.contains("127.0.0.1:1              --listen"), "{report}");
}

#[test]
fn invalid_value_is_reported_with_origin_and_allowed_values() {
    let message = Inputs::nothing().flag("max-batch-size", "0").error();
    assert_eq!(message, "--max-batch-size '0' must be a whole number from 1 to 1024");
    let message = Inputs::nothing().env("KILN_SHUTDOWN_GRACE", "soon").error();
    assert!(message.starts_with("KILN_SHUTDOWN_GRACE 'soon' must be a time"), "{message}");
    let message = Inputs::nothing().file("formats = 'jpg,exe'").error();
    assert!(message.contains(": formats 'jpg,exe' must be extensions"), "{message}");
    for (key, value) in [
        ("listen", "8080"),
        ("device", "tpu"),
        ("max-body-bytes", "big"),
        ("log-format", "xml"),
        ("cors-origin", "https://a.example,b"),
        ("image-sample-percent", "101"),
        ("prediction-retention", "0s"),
    ] {
        let message = Inputs::nothing().flag(key, value).error();
        assert!(message.starts_with(&format!("--{key} '{value}' must be ")), "{message}");
    }
}

#[test]
fn suggested_values_of_every_setting_are_accepted() {
    for setting in SETTINGS {
        for value in setting.values {
            let refused = Inputs::nothing().flag(setting.key, value).config().err();
            assert!(refused.is_none(), "{refused:?}");
        }
    }
    let presets: Vec<&str> = model_import::import::PRESETS.iter().map(|preset| preset.name).collect();
    assert_eq!(settings::find("preset").unwrap().values, presets);
}

#[test]
fn unknown_key_in_file_is_reported_with_line_and_nearest_key() {
    let message = Inputs::nothing().file("# settings\nmax-bach-size = 4\n").error();
    assert!(
        message.ends_with("line 2: there is no setting 'max-bach-size'; did you mean 'max-batch-size'?"),
        "{message}"
    );
    let message = Inputs::nothing().file("shutdown-grace = '5s'\nkeys = 'x'\nkey = 'y'\n[gra.x]\n").error();
    assert!(message.contains("line 4: there is no setting 'gra'"), "{message}");
    let message = Inputs::nothing().file("listen = '''\ngra = 1\n'''\n'gra' = 1\n").error();
    assert!(message.contains("line 4: there is no setting 'gra'"), "{message}");
}

#[test]
fn syntax_error_in_file_is_reported_by_line_without_its_text() {
    let message = Inputs::nothing().file("# settings\napi-key = \"hunter2-hunter2-hunter2\n").error();
    assert!(message.contains(": line 2: ") && !message.contains("hunter2"), "{message}");
    let message = Inputs::nothing().file("api-key = hunter2-hunter2-hunter2\n").error();
    assert!(message.contains(": line 1: ") && !message.contains("hunter2"), "{message}");
}

#[cfg(unix)]
#[test]
fn variable_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let env = |name: &str| (name == "KILN_API_KEY").then(|| OsString::from_vec(b"hunter2-\xff".to_vec()));
    let message = Sources::gather(&BTreeMap::new(), &env, None).unwrap_err().to_string();
    assert_eq!(message, "KILN_API_KEY must be text in UTF-8");
}

#[test]
fn unknown_model_and_unknown_log_level_are_refused() {
    let message = Inputs::nothing().flag("model", "nobody").error();
    assert!(message.starts_with("--model 'nobody' must be a built-in model: "), "{message}");
    assert!(message.contains("efficientnet-lite0"), "{message}");
    let message = Inputs::nothing().env("KILN_LOG_LEVEL", "loud").error();
    assert!(message.starts_with("KILN_LOG_LEVEL 'loud' must be error, warn"), "{message}");
    assert!(Inputs::nothing().flag("model", "efficientnet-lite0").config().is_ok());
    // The names of models in files are known only when the files are read.
    assert!(Inputs::nothing().flag("model", "nobody").flag("model-file", "a.onnx").config().is_ok());
    assert!(Inputs::nothing().flag("model", "nobody").flag("models", "repository").config().is_ok());
}

#[test]
fn model_repository_is_a_setting_of_servers_alone() {
    let inputs = Inputs::nothing().env("KILN_MODELS", "repository").flag("model-poll-interval", "1m");
    let config = inputs.config().unwrap();
    assert_eq!(config.model_repository, Some(PathBuf::from("repository")));
    assert_eq!(config.model_poll_interval, Duration::from_secs(60));
    assert_eq!(Config::without_serving(&inputs.sources().unwrap()).unwrap().model_repository, None);
    assert_eq!(Inputs::nothing().config().unwrap().model_poll_interval, Duration::from_secs(5));
    let message = Inputs::nothing().flag("model-poll-interval", "0s").error();
    assert_eq!(message, "--model-poll-interval '0s' must be above 0");
}

#[test]
fn invalid_options_of_model_files_are_refused() {
    for (key, value, part) in [
        ("model-file", "a.onnx,", "files or folders with commas"),
        ("preset", "pytorch", "torchvision"),
        ("input-size", "224", "WIDTHxHEIGHT"),
    ] {
        let message = Inputs::nothing().flag(key, value).error();
        assert!(message.starts_with(&format!("--{key} '{value}' ")) && message.contains(part), "{message}");
    }
}

#[test]
fn invalid_collector_is_refused_without_showing_secrets() {
    let error = |endpoint| Inputs::nothing().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).error();
    let message = error("http://name:hunter2@collector:4318");
    assert!(message.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT must be the address of a collector"), "{message}");
    assert!(!message.contains("hunter2") && !error("grpc://hunter2").contains("hunter2"), "{message}");
    let message = Inputs::nothing().env("KILN_OTLP_HEADERS", "hunter2").error();
    assert!(
        message.starts_with("KILN_OTLP_HEADERS must be 'name=value' pairs") && !message.contains("hunter2"),
        "{message}"
    );
    let message = Inputs::nothing().flag("otlp-sampling", "2").error();
    assert_eq!(message, "--otlp-sampling '2' must be a number from 0 to 1");
}

#[test]
fn password_in_jwks_address_is_not_shown() {
    for address in ["https://u:hunter2@id.example/keys", "ftp://id.example/keys?key=hunter2"] {
        let message = Inputs::nothing().flag("jwt-jwks", address).error();
        assert!(message.starts_with("--jwt-jwks '") && message.contains("id.example/keys' must"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn token_settings_are_parsed_and_need_a_key() {
    let tokens = || Inputs::nothing().flag("jwt-jwks", "keys.json").flag("jwt-issuer", "i").flag("jwt-audience", "a");
    let parsed = |inputs: Inputs| inputs.config().unwrap().auth.tokens.unwrap();
    assert_eq!(parsed(tokens()).scope_claim, "scope".parse().unwrap());
    let inputs = tokens().env("KILN_JWT_SCOPE_CLAIM", "realm_access.roles").flag("jwt-scope-map", "ml-ops=admin");
    let config = parsed(inputs);
    assert_eq!(config.scope_claim, "realm_access.roles".parse().unwrap());
    assert_eq!(config.scope_map, "ml-ops=admin".parse().unwrap());
    let message = tokens().flag("jwt-scope-claim", "realm_access.").error();
    assert!(message.starts_with("--jwt-scope-claim 'realm_access.' must be the name of a claim"), "{message}");
    let limit = |inputs: Inputs| parsed(inputs).rate_limit.map(|limit| (limit.per_second, limit.burst.get()));
    assert_eq!(limit(tokens()), None);
    assert_eq!(limit(tokens().flag("jwt-rate", "2.5")), Some((2.5, 3)));
    assert_eq!(limit(tokens().flag("jwt-rate", "2.5").env("KILN_JWT_BURST", "10")), Some((2.5, 10)));
    for rate in ["0", "-1", "nan", "1000001", "fast"] {
        let message = tokens().flag("jwt-rate", rate).error();
        assert!(message.starts_with(&format!("--jwt-rate '{rate}' must be a number of requests")), "{message}");
    }
    let message = tokens().flag("jwt-burst", "10").error();
    assert!(message.starts_with("--jwt-burst '10' needs jwt-rate"), "{message}");
    let message = tokens().flag("jwt-rate", "0.001").flag("jwt-burst", "4294967295").error();
    assert!(message.starts_with("--jwt-burst '4294967295' is wrong: "), "{message}");
    for (key, value) in [("jwt-scope-map", "ml-ops=admin"), ("jwt-rate", "5"), ("jwt-burst", "5")] {
        let message = Inputs::nothing().flag(key, value).error();
        assert!(message.starts_with(&format!("--{key} '{value}' needs jwt-jwks or jwt-secret")), "{message}");
    }
}

#[test]
fn invalid_port_is_shown_as_in_its_variable() {
    let message = Inputs::nothing().env("PORT", "abc").error();
    assert_eq!(message, "PORT 'abc' must be a port, such as 8080");
    let message = Inputs::nothing().env("KILN_LISTEN", "0.0.0.0:abc").error();
    assert_eq!(message, "KILN_LISTEN '0.0.0.0:abc' must be an address and a port, such as 127.0.0.1:8080");
}

#[test]
fn two_api_keys_are_refused() {
    let inputs =
        Inputs::nothing().env("KILN_API_KEY", "kiln_a-key-that-is-long-enough").flag("api-key-file", "/dev/null");
    let message = inputs.error();
    assert!(message.starts_with("KILN_API_KEY and api-key-file are both set"), "{message}");
}

#[test]
fn invalid_server_settings_do_not_stop_other_commands() {
    let inputs = Inputs::nothing().env("PORT", "abc").env("KILN_API_KEY", "short").env("KILN_SHUTDOWN_GRACE", "soon");
    let config = Config::without_serving(&inputs.sources().unwrap()).unwrap();
    assert!(config.auth.api_key.is_none());
    let inputs = inputs.env("KILN_DEVICE", "tpu");
    assert!(Config::without_serving(&inputs.sources().unwrap()).is_err());
}

#[test]
fn short_key_is_refused_and_not_shown() {
    let message = Inputs::nothing().env("KILN_API_KEY", "hunter2").error();
    assert!(message.starts_with("KILN_API_KEY ") && !message.contains("hunter2"), "{message}");
}

//! Which place wins, what the texts come to, and the report of it.

use std::time::Duration;

use super::super::settings::{SETTINGS, Setting};
use super::super::{Origin, report};
use super::{Given, KEY};

#[test]
fn the_defaults_are_those_of_each_room() {
    let config = Given::nothing().config().unwrap();
    assert_eq!(config.serve, kiln_server::Config::default());
    assert_eq!(config.batching, kiln_classifier::batching::Config::default());
    assert_eq!(config.shutdown, kiln_runtime::shutdown::Config::default());
    assert_eq!(config.image.formats, kiln_image::FormatSet::default());
    assert_eq!(config.image.max_pixels, kiln_image::Limits::default().max_pixels);
    assert!(config.keys.api_key.is_none());
    assert!(config.decode_threads >= 1);
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default() {
    let size = |given: &Given| given.config().unwrap().batching.max_batch_size;
    let given = Given::nothing();
    assert_eq!(size(&given), 8);
    let given = given.file("max-batch-size = 4\n");
    assert_eq!(size(&given), 4);
    let given = given.env("KILN_MAX_BATCH_SIZE", "16");
    assert_eq!(size(&given), 16);
    let given = given.flag("max-batch-size", "32");
    assert_eq!(size(&given), 32);
}

#[test]
fn every_setting_can_come_from_each_place() {
    for setting in SETTINGS {
        let value = if setting.default.is_empty() { KEY } else { setting.default };
        let given = Given::nothing().env(&setting.variable(), value);
        let origin = given.sources().unwrap().get(setting.key).unwrap().1.clone();
        assert_eq!(origin, Origin::Variable(setting.variable()));
        let given = Given::nothing().file(&format!("{} = '{value}'\n", setting.key));
        assert!(matches!(given.sources().unwrap().get(setting.key), Some((_, Origin::File(_)))), "{}", setting.key);
    }
}

#[test]
fn a_hosting_platforms_port_opens_to_the_world_but_yields_to_an_explicit_address() {
    let listen = |given: Given| given.env("KILN_API_KEY", KEY).config().unwrap().serve.listen.to_string();
    assert_eq!(listen(Given::nothing().env("PORT", "5000")), "0.0.0.0:5000");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").file("listen = '127.0.0.1:1'")), "0.0.0.0:5000");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").env("KILN_LISTEN", "127.0.0.1:1")), "127.0.0.1:1");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").flag("listen", "127.0.0.1:2")), "127.0.0.1:2");
}

#[test]
fn the_variables_of_opentelemetry_yield_to_kilns_own() {
    let endpoint = |given: Given| given.config().unwrap().traces.map(|traces| traces.endpoint.to_string());
    assert_eq!(endpoint(Given::nothing()), None);
    let given = || Given::nothing().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
    assert_eq!(endpoint(given()).as_deref(), Some("http://a:1/v1/traces"));
    assert_eq!(endpoint(given().file("otlp-endpoint = 'http://b:1'")).as_deref(), Some("http://a:1/v1/traces"));
    assert_eq!(endpoint(given().env("KILN_OTLP_ENDPOINT", "http://b:1")).as_deref(), Some("http://b:1/v1/traces"));
    let origin = given().sources().unwrap().get("otlp-endpoint").unwrap().1.clone();
    assert_eq!(origin, Origin::Variable("OTEL_EXPORTER_OTLP_ENDPOINT".to_string()));
}

#[test]
fn units_are_understood() {
    let given = Given::nothing().flag("max-queue-delay", "5ms").flag("shutdown-grace", "1m").flag("max-body-bytes", "3MiB");
    let config = given.config().unwrap();
    assert_eq!(config.batching.max_queue_delay, Duration::from_millis(5));
    assert_eq!(config.shutdown.grace, Duration::from_secs(60));
    assert_eq!(config.api.max_body_bytes, 3 << 20);
    assert!(config.feedback.is_none());
    let given =
        Given::nothing().flag("data-dir", "data").flag("prediction-retention", "90d").flag("image-sample-percent", "2.5");
    let feedback = given.config().unwrap().feedback.unwrap();
    assert_eq!(feedback.prediction_retention, Duration::from_secs(90 * 24 * 60 * 60));
    assert_eq!(feedback.image_sample_percent.fraction(), 0.025);
}

#[test]
fn an_empty_variable_is_an_absent_one() {
    let variables = SETTINGS.iter().map(Setting::variable).chain(["PORT".to_string()]);
    let given = variables.fold(Given::nothing(), |given, name| given.env(&name, "")).file("max-batch-size = 4\n");
    let config = given.config().unwrap();
    assert_eq!(config.batching.max_batch_size, 4);
    assert_eq!(config.serve, kiln_server::Config::default());
    assert!(config.keys.api_key.is_none() && config.logging.file.is_none());
}

#[test]
fn the_report_has_every_setting_with_its_origin_and_no_secret() {
    let given = Given::nothing().env("KILN_API_KEY", KEY).flag("listen", "127.0.0.1:1");
    let given = given.env("KILN_OTLP_ENDPOINT", "https://api.example/?key=hunter2");
    let given = given.flag("jwt-jwks", "https://id.example/keys?key=hunter2");
    let report = report(&given.sources().unwrap());
    assert!(!report.contains(KEY) && !report.contains("hunter2"), "{report}");
    assert!(report.contains("https://api.example/v1/traces KILN_OTLP_ENDPOINT"), "{report}");
    assert!(report.contains("https://id.example/keys"), "{report}");
    for setting in SETTINGS {
        assert!(report.lines().any(|line| line.starts_with(setting.key)), "{}", setting.key);
    }
    assert!(report.contains("(set)                    KILN_API_KEY"), "{report}");
    assert!(report.contains("127.0.0.1:1              --listen"), "{report}");
}

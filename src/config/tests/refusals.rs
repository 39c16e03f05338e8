//! What is refused, and the sentences that it is refused with.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::super::{Config, Sources};
use super::Given;

#[test]
fn a_bad_value_is_named_with_its_place_and_what_is_allowed() {
    let sentence = Given::nothing().flag("max-batch-size", "0").refusal();
    assert_eq!(sentence, "--max-batch-size '0' must be a whole number from 1 to 1024");
    let sentence = Given::nothing().env("KILN_SHUTDOWN_GRACE", "soon").refusal();
    assert!(sentence.starts_with("KILN_SHUTDOWN_GRACE 'soon' must be a time"), "{sentence}");
    let sentence = Given::nothing().file("formats = 'jpg,exe'").refusal();
    assert!(sentence.contains(": formats 'jpg,exe' must be extensions"), "{sentence}");
    for (key, value) in [
        ("listen", "8080"),
        ("device", "tpu"),
        ("max-body-bytes", "big"),
        ("log-format", "xml"),
        ("cors-origin", "https://a.example,b"),
        ("image-sample-percent", "101"),
        ("prediction-retention", "0s"),
    ] {
        let sentence = Given::nothing().flag(key, value).refusal();
        assert!(sentence.starts_with(&format!("--{key} '{value}' must be ")), "{sentence}");
    }
}

#[test]
fn an_unknown_key_in_the_file_is_named_with_its_line_and_the_nearest_one() {
    let sentence = Given::nothing().file("# settings\nmax-bach-size = 4\n").refusal();
    assert!(
        sentence.ends_with("line 2: there is no setting 'max-bach-size'; did you mean 'max-batch-size'?"),
        "{sentence}"
    );
    let sentence = Given::nothing().file("shutdown-grace = '5s'\nkeys = 'x'\nkey = 'y'\n[gra.x]\n").refusal();
    assert!(sentence.contains("line 4: there is no setting 'gra'"), "{sentence}");
    let sentence = Given::nothing().file("listen = '''\ngra = 1\n'''\n'gra' = 1\n").refusal();
    assert!(sentence.contains("line 4: there is no setting 'gra'"), "{sentence}");
}

#[test]
fn a_file_that_does_not_parse_is_told_by_its_line_without_showing_it() {
    let sentence = Given::nothing().file("# settings\napi-key = \"hunter2-hunter2-hunter2\n").refusal();
    assert!(sentence.contains(": line 2: ") && !sentence.contains("hunter2"), "{sentence}");
    let sentence = Given::nothing().file("api-key = hunter2-hunter2-hunter2\n").refusal();
    assert!(sentence.contains(": line 1: ") && !sentence.contains("hunter2"), "{sentence}");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused_by_its_name() {
    use std::os::unix::ffi::OsStringExt as _;
    let env = |name: &str| (name == "KILN_API_KEY").then(|| OsString::from_vec(b"hunter2-\xff".to_vec()));
    let sentence = Sources::gather(&BTreeMap::new(), &env, None).unwrap_err().to_string();
    assert_eq!(sentence, "KILN_API_KEY must be text in UTF-8");
}

#[test]
fn a_model_that_was_not_built_in_and_a_level_that_is_none_are_refused() {
    let sentence = Given::nothing().flag("model", "nobody").refusal();
    assert!(sentence.starts_with("--model 'nobody' must be a model that was built in: "), "{sentence}");
    assert!(sentence.contains("efficientnet-lite0"), "{sentence}");
    let sentence = Given::nothing().env("KILN_LOG_LEVEL", "loud").refusal();
    assert!(sentence.starts_with("KILN_LOG_LEVEL 'loud' must be error, warn"), "{sentence}");
    assert!(Given::nothing().flag("model", "efficientnet-lite0").config().is_ok());
}

#[test]
fn a_collector_that_is_none_is_refused_without_what_may_be_secret() {
    let refusal = |endpoint| Given::nothing().env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).refusal();
    let sentence = refusal("http://name:hunter2@collector:4318");
    assert!(sentence.starts_with("OTEL_EXPORTER_OTLP_ENDPOINT must be the address of a collector"), "{sentence}");
    assert!(!sentence.contains("hunter2") && !refusal("grpc://hunter2").contains("hunter2"), "{sentence}");
    let sentence = Given::nothing().env("KILN_OTLP_HEADERS", "hunter2").refusal();
    assert!(sentence.starts_with("KILN_OTLP_HEADERS must be names") && !sentence.contains("hunter2"), "{sentence}");
    let sentence = Given::nothing().flag("otlp-sampling", "2").refusal();
    assert_eq!(sentence, "--otlp-sampling '2' must be a number from 0 to 1");
}

#[test]
fn a_password_in_the_address_of_keys_is_not_shown() {
    for address in ["https://u:hunter2@id.example/keys", "ftp://id.example/keys?key=hunter2"] {
        let sentence = Given::nothing().flag("jwt-jwks", address).refusal();
        assert!(sentence.starts_with("--jwt-jwks '") && sentence.contains("id.example/keys' must"), "{sentence}");
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}

#[test]
fn a_port_is_refused_as_it_was_given() {
    let sentence = Given::nothing().env("PORT", "abc").refusal();
    assert_eq!(sentence, "PORT 'abc' must be a port, such as 8080");
    let sentence = Given::nothing().env("KILN_LISTEN", "0.0.0.0:abc").refusal();
    assert_eq!(sentence, "KILN_LISTEN '0.0.0.0:abc' must be an address and a port, such as 127.0.0.1:8080");
}

#[test]
fn two_keys_are_refused_wherever_they_come_from() {
    let given =
        Given::nothing().env("KILN_API_KEY", "kiln_a-key-that-is-long-enough").flag("api-key-file", "/dev/null");
    let sentence = given.refusal();
    assert!(sentence.starts_with("KILN_API_KEY and api-key-file are both set"), "{sentence}");
}

#[test]
fn what_only_a_server_needs_does_not_keep_a_prediction_from_starting() {
    let given = Given::nothing().env("PORT", "abc").env("KILN_API_KEY", "short").env("KILN_SHUTDOWN_GRACE", "soon");
    let config = Config::without_serving(&given.sources().unwrap()).unwrap();
    assert!(config.keys.api_key.is_none());
    let given = given.env("KILN_DEVICE", "tpu");
    assert!(Config::without_serving(&given.sources().unwrap()).is_err());
}

#[test]
fn a_short_key_is_refused_and_not_shown() {
    let sentence = Given::nothing().env("KILN_API_KEY", "hunter2").refusal();
    assert!(sentence.starts_with("KILN_API_KEY ") && !sentence.contains("hunter2"), "{sentence}");
}

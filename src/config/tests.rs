//! Precedence, ranges and reports, seen from outside the room.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use super::settings::SETTINGS;
use super::*;

const KEY: &str = "kiln_a-key-that-is-long-enough";

struct Given {
    flags: BTreeMap<&'static str, String>,
    env: BTreeMap<String, String>,
    file: Option<tempfile::NamedTempFile>,
}

impl Given {
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
        let env = |name: &str| self.env.get(name).cloned();
        Sources::gather(&self.flags, &env, self.file.as_ref().map(tempfile::NamedTempFile::path))
    }

    fn config(&self) -> Result<Config, ConfigError> {
        self.sources().and_then(|sources| Config::from_sources(&sources))
    }

    fn refusal(&self) -> String {
        self.config().unwrap_err().to_string()
    }
}

#[test]
fn the_defaults_are_those_of_each_room() {
    let config = Given::nothing().config().unwrap();
    assert_eq!(config.serve, crate::serve::Config::default());
    assert_eq!(config.batching, crate::batching::Config::default());
    assert_eq!(config.shutdown, crate::shutdown::Config::default());
    assert_eq!(config.image.formats, crate::image::FormatSet::default());
    assert_eq!(config.image.max_pixels, crate::image::Limits::default().max_pixels);
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
    let listen = |given: Given| given.config().unwrap().serve.listen.to_string();
    assert_eq!(listen(Given::nothing().env("PORT", "5000")), "0.0.0.0:5000");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").file("listen = '127.0.0.1:1'")), "0.0.0.0:5000");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").env("KILN_LISTEN", "127.0.0.1:1")), "127.0.0.1:1");
    assert_eq!(listen(Given::nothing().env("PORT", "5000").flag("listen", "127.0.0.1:2")), "127.0.0.1:2");
}

#[test]
fn a_bad_value_is_named_with_its_place_and_what_is_allowed() {
    let sentence = Given::nothing().flag("max-batch-size", "0").refusal();
    assert_eq!(sentence, "--max-batch-size '0' must be a whole number from 1 to 1024");
    let sentence = Given::nothing().env("KILN_GRACE", "soon").refusal();
    assert!(sentence.starts_with("KILN_GRACE 'soon' must be a time"), "{sentence}");
    let sentence = Given::nothing().file("formats = 'jpg,exe'").refusal();
    assert!(sentence.contains(": formats 'jpg,exe' must be extensions"), "{sentence}");
    for (key, value) in [("listen", "8080"), ("device", "tpu"), ("max-body-bytes", "big"), ("log-format", "xml")] {
        let sentence = Given::nothing().flag(key, value).refusal();
        assert!(sentence.starts_with(&format!("--{key} '{value}' must be ")), "{sentence}");
    }
}

#[test]
fn units_are_understood() {
    let given = Given::nothing().flag("max-queue-delay", "5ms").flag("grace", "1m").flag("max-body-bytes", "3MiB");
    let config = given.config().unwrap();
    assert_eq!(config.batching.max_queue_delay, Duration::from_millis(5));
    assert_eq!(config.shutdown.grace, Duration::from_secs(60));
    assert_eq!(config.api.max_body_bytes, 3 << 20);
}

#[test]
fn an_unknown_key_in_the_file_is_named_with_its_line_and_the_nearest_one() {
    let sentence = Given::nothing().file("# settings\nmax-bach-size = 4\n").refusal();
    assert!(
        sentence.ends_with("line 2: there is no setting 'max-bach-size'; did you mean 'max-batch-size'?"),
        "{sentence}"
    );
}

#[test]
fn a_short_key_is_refused_and_an_empty_one_is_none_and_neither_is_shown() {
    let sentence = Given::nothing().env("KILN_API_KEY", "hunter2").refusal();
    assert!(sentence.starts_with("KILN_API_KEY ") && !sentence.contains("hunter2"), "{sentence}");
    assert!(Given::nothing().env("KILN_API_KEY", "").config().unwrap().keys.api_key.is_none());
}

#[test]
fn the_report_has_every_setting_with_its_origin_and_no_secret() {
    let given = Given::nothing().env("KILN_API_KEY", KEY).flag("listen", "127.0.0.1:1");
    let report = report(&given.sources().unwrap());
    assert!(!report.contains(KEY));
    for setting in SETTINGS {
        assert!(report.lines().any(|line| line.starts_with(setting.key)), "{}", setting.key);
    }
    assert!(report.contains("(set)                    KILN_API_KEY"), "{report}");
    assert!(report.contains("127.0.0.1:1              --listen"), "{report}");
}

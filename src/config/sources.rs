//! Collects the text of every setting from its sources. Precedence: flag, `KILN_*` variable, variable of another
//! convention (such as `PORT` for `listen`), configuration file, default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use super::ConfigError;
use super::settings::{self, SETTINGS, Setting};
use super::values::{ANY_ADDRESS, Origin, PORT, Value};

/// Maximum edit distance for "did you mean".
const MAX_TYPOS: usize = 3;

/// Text and origin of every setting. A setting without a value is absent.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<&'static str, Value>);

impl Sources {
    /// Collects flags, variables through `env`, the configuration file and defaults. An empty variable counts as not
    /// set.
    ///
    /// # Errors
    ///
    /// Returns an error if a variable is not UTF-8, or if the file cannot be read or contains an unknown key.
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        env: &impl Fn(&str) -> Option<OsString>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let in_file = file.map(read_file).transpose()?.unwrap_or_default();
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let key = setting.key;
            let variable = setting.variable();
            let (text, origin) = if let Some(text) = flags.get(key) {
                (text.clone(), Origin::Flag(key))
            } else if let Some(text) = variable_text(env, &variable)? {
                (text, Origin::Variable(variable))
            } else if let Some((text, variable)) = conventional_text(env, setting.conventional)? {
                (text, Origin::Variable(variable.to_string()))
            } else if let (Some(text), Some(path)) = (in_file.get(key), file) {
                (text.clone(), Origin::File(path.to_path_buf()))
            } else if !setting.default.is_empty() {
                (setting.default.to_string(), Origin::Default)
            } else {
                continue;
            };
            values.insert(key, Value { key, text, origin });
        }
        Ok(Self(values))
    }

    /// Replaces the default of one setting. A value from another source stays.
    pub fn with_default(mut self, key: &'static str, text: &str) -> Self {
        if let Some(Value { text: value, origin: Origin::Default, .. }) = self.0.get_mut(key) {
            *value = text.to_string();
        }
        self
    }

    /// Resets the settings that only a server uses, such as addresses, limits and keys, to their defaults.
    pub(super) fn without_serving(&self) -> Self {
        let mut values = self.0.clone();
        for setting in SETTINGS.iter().filter(|setting| setting.is_for_serving()) {
            let (key, text) = (setting.key, setting.default.to_string());
            if text.is_empty() {
                values.remove(key);
            } else {
                values.insert(key, Value { key, text, origin: Origin::Default });
            }
        }
        Self(values)
    }

    /// Returns the text and the origin of a setting, if it has a value.
    pub fn get(&self, key: &str) -> Option<(&str, &Origin)> {
        self.value(key).map(|value| (value.text.as_str(), &value.origin))
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// Returns the text of a variable of another convention. A port becomes an address.
fn conventional_text(
    env: &impl Fn(&str) -> Option<OsString>,
    variable: Option<&'static str>,
) -> Result<Option<(String, &'static str)>, ConfigError> {
    let Some(variable) = variable else { return Ok(None) };
    let text = variable_text(env, variable)?;
    let converted = |text| if variable == PORT { format!("{ANY_ADDRESS}{text}") } else { text };
    Ok(text.map(|text| (converted(text), variable)))
}

/// Returns the text of a variable that is set and not empty. The error does not show the value, which may be a secret.
fn variable_text(env: &impl Fn(&str) -> Option<OsString>, name: &str) -> Result<Option<String>, ConfigError> {
    let given = env(name).filter(|value| !value.is_empty());
    given.map(OsString::into_string).transpose().map_err(|_| ConfigError(format!("{name} must be text in UTF-8")))
}

/// Reads the settings of a TOML file as texts.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let error = |reason: String| ConfigError(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| error(format!("cannot be read: {e}")))?;
    // The parser's full error would quote the line, which may contain a key.
    let table: BTreeMap<toml::Spanned<String>, toml::Value> =
        toml::from_str(&text).map_err(|e| error(format!("{}{}", line_of(e.span(), &text), e.message())))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        if settings::find(key.get_ref()).is_none() {
            return Err(error(unknown_key(&key, &text)));
        }
        let key = key.into_inner();
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(boolean) => boolean.to_string(),
            other => {
                let kind = other.type_str();
                return Err(error(format!("'{key}' must be a string, an integer or a boolean, but it is a {kind}")));
            }
        };
        values.insert(key, value);
    }
    Ok(values)
}

/// Returns `line N: ` for the start of a span, or nothing if the span is unknown.
fn line_of(span: Option<Range<usize>>, text: &str) -> String {
    let before = span.and_then(|span| text.get(..span.start));
    before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1))
}

fn unknown_key(key: &toml::Spanned<String>, text: &str) -> String {
    let (line, key) = (line_of(Some(key.span()), text), key.get_ref());
    match nearest_setting(key) {
        Some(nearest) => format!("{line}there is no setting '{key}'; did you mean '{}'?", nearest.key),
        None => format!("{line}there is no setting '{key}'; 'kiln serve --help' lists them"),
    }
}

/// Returns the setting whose key a misspelt key most likely means.
pub(super) fn nearest_setting(key: &str) -> Option<&'static Setting> {
    let distance = |setting: &Setting| strsim::levenshtein(key, setting.key);
    let nearest = SETTINGS.iter().min_by_key(|setting| (distance(setting), setting.key))?;
    let distance = distance(nearest);
    // Half of a short word is no typing error.
    (distance <= MAX_TYPOS && 2 * distance < key.len()).then_some(nearest)
}

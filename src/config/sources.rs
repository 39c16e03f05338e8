//! Where each value comes from. Precedence: flag, variable, a variable that others use for it (such as `PORT` for
//! `listen`), file, default.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::settings::{self, SETTINGS};

/// The variable in which hosting platforms name a port.
pub(super) const PORT: &str = "PORT";
/// What stands before the port then.
pub(super) const ANY_ADDRESS: &str = "0.0.0.0:";

/// Who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// The environment.
    Variable(String),
    /// The configuration file.
    File(PathBuf),
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "--{key}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Every setting's text and where it comes from; settings that have no value are absent.
#[derive(Clone, Debug, Default)]
pub struct Sources(BTreeMap<&'static str, (String, Origin)>);

impl Sources {
    /// Gathers flags, then variables through `env`, then the file, then defaults. An empty variable is an absent one.
    ///
    /// # Errors
    ///
    /// A variable is no text, or the file cannot be read or has a key that is none.
    pub fn gather(
        flags: &BTreeMap<&'static str, String>,
        env: &impl Fn(&str) -> Option<OsString>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let in_file = file.map(read_file).transpose()?.unwrap_or_default();
        let mut found = BTreeMap::new();
        for setting in SETTINGS {
            let key = setting.key;
            let variable = setting.variable();
            let value = if let Some(text) = flags.get(key) {
                (text.clone(), Origin::Flag(key))
            } else if let Some(text) = variable_text(env, &variable)? {
                (text, Origin::Variable(variable))
            } else if let Some((text, variable)) = customary(env, key)? {
                (text, Origin::Variable(variable.to_string()))
            } else if let (Some(text), Some(path)) = (in_file.get(key), file) {
                (text.clone(), Origin::File(path.to_path_buf()))
            } else if !setting.default.is_empty() {
                (setting.default.to_string(), Origin::Default)
            } else {
                continue;
            };
            found.insert(key, value);
        }
        Ok(Self(found))
    }

    /// These with another default for one setting.
    pub fn with_default(mut self, key: &'static str, text: &str) -> Self {
        if let Some((value, Origin::Default)) = self.0.get_mut(key) {
            *value = text.to_string();
        }
        self
    }

    /// These without what only a server needs: addresses, limits and keys.
    pub(super) fn without_serving(&self) -> Self {
        let mut rest = self.clone();
        for setting in SETTINGS.iter().filter(|setting| setting.is_for_serving()) {
            if setting.default.is_empty() {
                rest.0.remove(setting.key);
            } else {
                rest.0.insert(setting.key, (setting.default.to_string(), Origin::Default));
            }
        }
        rest
    }

    /// A setting's text and origin, if it has a value.
    pub fn get(&self, key: &str) -> Option<(&str, &Origin)> {
        self.0.get(key).map(|(text, origin)| (text.as_str(), origin))
    }
}

/// What a variable says that is not Kiln's own: of hosting platforms, and of OpenTelemetry.
fn customary(
    env: &impl Fn(&str) -> Option<OsString>,
    key: &str,
) -> Result<Option<(String, &'static str)>, ConfigError> {
    let variable = match key {
        "listen" => PORT,
        "otlp-endpoint" => "OTEL_EXPORTER_OTLP_ENDPOINT",
        "otlp-headers" => "OTEL_EXPORTER_OTLP_HEADERS",
        _ => return Ok(None),
    };
    let text = variable_text(env, variable)?;
    let meant = |text| if variable == PORT { format!("{ANY_ADDRESS}{text}") } else { text };
    Ok(text.map(|text| (meant(text), variable)))
}

/// A variable that is set to something. Its value is not shown where it is no text: it may be a secret.
fn variable_text(env: &impl Fn(&str) -> Option<OsString>, name: &str) -> Result<Option<String>, ConfigError> {
    let given = env(name).filter(|value| !value.is_empty());
    given.map(OsString::into_string).transpose().map_err(|_| ConfigError(format!("{name} must be text in UTF-8")))
}

/// The settings of a TOML file, as texts.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let refuse = |reason: String| ConfigError(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
    let table: BTreeMap<toml::Spanned<String>, toml::Value> =
        toml::from_str(&text).map_err(|e| refuse(syntax(&e, &text)))?;
    let mut found = BTreeMap::new();
    for (key, value) in table {
        if settings::find(key.get_ref()).is_none() {
            return Err(refuse(unknown(&key, &text)));
        }
        let key = key.into_inner();
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            other => {
                return Err(refuse(format!(
                    "'{key}' must be a text, a whole number or a truth value, not a {}",
                    other.type_str()
                )));
            }
        };
        found.insert(key, value);
    }
    Ok(found)
}

/// The error's own text would quote the line, which may hold the key.
fn syntax(error: &toml::de::Error, text: &str) -> String {
    format!("{}{}", place(error.span(), text), error.message())
}

/// The line in which a part of the text begins, if that is known.
fn place(span: Option<Range<usize>>, text: &str) -> String {
    let before = span.and_then(|span| text.get(..span.start));
    before.map_or_else(String::new, |before| format!("line {}: ", before.matches('\n').count() + 1))
}

fn unknown(key: &toml::Spanned<String>, text: &str) -> String {
    let (place, key) = (place(Some(key.span()), text), key.get_ref());
    let nearest = SETTINGS.iter().map(|setting| (distance(key, setting.key), setting.key)).min();
    match nearest {
        Some((distance, nearest)) if distance <= 3 => {
            format!("{place}there is no setting '{key}'; did you mean '{nearest}'?")
        }
        _ => format!("{place}there is no setting '{key}'; 'kiln serve --help' lists them"),
    }
}

/// Levenshtein distance: insertions, deletions and changes that lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

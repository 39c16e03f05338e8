//! Settings from all their places, seen from outside the room.

mod precedence;
mod refusals;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;

use super::*;

const KEY: &str = "kiln_a-key-that-is-long-enough";

/// What an operator gave, and where.
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
        let env = |name: &str| self.env.get(name).map(OsString::from);
        Sources::gather(&self.flags, &env, self.file.as_ref().map(tempfile::NamedTempFile::path))
    }

    fn config(&self) -> Result<Config, ConfigError> {
        self.sources().and_then(|sources| Config::from_sources(&sources))
    }

    fn refusal(&self) -> String {
        self.config().unwrap_err().to_string()
    }
}

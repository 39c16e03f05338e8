//! A setting's text with its origin, and the parsers from text to typed values. Every error names the origin, the value
//! and the allowed values.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::ConfigError;

/// Environment variable in which hosting platforms pass the port to listen on.
pub(super) const PORT: &str = "PORT";
/// Address prefix for a port from [`PORT`]: all interfaces.
pub(super) const ANY_ADDRESS: &str = "0.0.0.0:";

/// Maximum of every timeout. A longer one is most likely a mistake.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Maximum of every retention time and key lifetime: a century.
pub const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Where the value of a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag: the key of the setting.
    Flag(&'static str),
    /// An environment variable: its name.
    Variable(String),
    /// The configuration file: its path.
    File(PathBuf),
    /// The default of the setting.
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

/// The text of one setting and its origin.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Value {
    /// Parses any type with `FromStr`. `allowed` completes "must be ..." in the error.
    pub(super) fn parsed<T: FromStr>(&self, allowed: &str) -> Result<T, ConfigError> {
        self.text.parse().map_err(|_| self.error(&format!("must be {allowed}")))
    }

    /// As [`Self::parsed`], with the parser's own error message.
    pub(super) fn parsed_by<T: FromStr>(&self) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        self.text.parse().map_err(|error: T::Err| self.error(&error.to_string()))
    }

    /// As [`Self::parsed_by`] for a value that may hold a secret: the error does not show it.
    pub(super) fn parsed_secret<T: FromStr>(&self) -> Result<T, ConfigError>
    where
        T::Err: fmt::Display,
    {
        self.text.parse().map_err(|error: T::Err| self.secret_error(&error.to_string()))
    }

    /// Parses `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        self.parsed("true or false")
    }

    /// Parses a list with commas. Spaces around an element are ignored.
    pub(super) fn list<T: FromStr>(&self, allowed: &str) -> Result<Vec<T>, ConfigError> {
        let elements: Result<_, _> = self.text.split(',').map(|element| element.trim().parse()).collect();
        elements.map_err(|_| self.error(&format!("must be {allowed}")))
    }

    /// Parses a whole number in a range, the bounds included.
    pub(super) fn number<T: TryFrom<u64>>(&self, min: u64, max: u64) -> Result<T, ConfigError> {
        let number = self.text.parse().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.error(&format!("must be a whole number from {min} to {max}")))
    }

    /// Parses a number of threads. The default of such a setting is a text for the help; its value is `default`.
    pub(super) fn threads(&self, default: impl Fn() -> usize) -> Result<usize, ConfigError> {
        if self.origin == Origin::Default { Ok(default()) } else { self.number(1, 1024) }
    }

    /// Parses a size in bytes in a range, the bounds included.
    pub(super) fn bytes<T: TryFrom<u64>>(&self, min: u64, max: u64) -> Result<T, ConfigError> {
        let size = self.text.parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
        let size = size.filter(|size| (min..=max).contains(size)).and_then(|size| T::try_from(size).ok());
        size.ok_or_else(|| {
            let (min, max) = (bytesize::ByteSize(min), bytesize::ByteSize(max));
            self.error(&format!("must be a size from {min} to {max}, such as 64KiB or 20MiB"))
        })
    }

    /// Parses a time above zero and of at most a day.
    pub(super) fn time(&self) -> Result<Duration, ConfigError> {
        let time = self.time_or_zero()?;
        if time.is_zero() { Err(self.error("must be above 0")) } else { Ok(time) }
    }

    /// Parses a time of at most a day.
    pub(super) fn time_or_zero(&self) -> Result<Duration, ConfigError> {
        let time = humantime::parse_duration(&self.text).ok().filter(|time| *time <= MAX_TIMEOUT);
        time.ok_or_else(|| self.error("must be a time of at most a day with its unit, such as 5ms, 2s or 1m"))
    }

    /// Parses a retention time: above zero and at most a century.
    pub(super) fn retention(&self) -> Result<Duration, ConfigError> {
        let time = humantime::parse_duration(&self.text).ok();
        time.filter(|time| !time.is_zero() && *time <= CENTURY).ok_or_else(|| {
            self.error("must be a time above 0 and at most a century with its unit, such as 12h, 30d or 1y")
        })
    }

    /// Returns an error that names the origin and the value. `reason` follows the value.
    pub(super) fn error(&self, reason: &str) -> ConfigError {
        // The port from `PORT` is shown as the variable has it.
        let is_port = matches!(&self.origin, Origin::Variable(name) if name == PORT);
        let text = if is_port { self.text.strip_prefix(ANY_ADDRESS).unwrap_or(&self.text) } else { &self.text };
        ConfigError(format!("{} '{}' {reason}", self.place(), redacted(text)))
    }

    /// As [`Self::error`], without the value.
    pub(super) fn secret_error(&self, reason: &str) -> ConfigError {
        ConfigError(format!("{} {reason}", self.place()))
    }

    fn place(&self) -> String {
        match &self.origin {
            Origin::File(path) => format!("{}: {}", path.display(), self.key),
            Origin::Default => format!("--{}", self.key),
            origin => origin.to_string(),
        }
    }
}

/// Removes the parts of an address that may be secret: user name, password, query and fragment. Other text is returned
/// as it is.
pub(super) fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_string() };
    let before_query = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.rsplit_once('@') {
        None => format!("{scheme}://{before_query}"),
        Some((_, host)) if before_query == rest => format!("{scheme}://{host}"),
        // A password may contain `?` and `#`, so its end is unknown.
        Some(_) => format!("{scheme}://.."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redacted_addresses_show_no_credentials_and_no_query() {
        for (text, expected) in [
            ("https://id.example/jwks.json", "https://id.example/jwks.json"),
            ("https://u:hunter2@id.example/jwks", "https://id.example/jwks"),
            ("https://u:hun/t@er2@id.example/", "https://id.example/"),
            ("https://id.example/?key=hunter2", "https://id.example/"),
            ("https://id.example/#hunter2", "https://id.example/"),
            ("https://u:hun?ter2@id.example/", "https://.."),
            ("https://id.example/?key=hun@ter2", "https://.."),
            ("https://a.example,https://b.example", "https://a.example,https://b.example"),
            ("data/keys@home.toml", "data/keys@home.toml"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }
}

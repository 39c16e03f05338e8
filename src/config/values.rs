//! Texts to typed values. Each refusal names the place, the value and what is allowed.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::ConfigError;
use super::shown::shown;
use super::sources::{ANY_ADDRESS, Origin, PORT, Sources};
use kiln_inference::model::Model;
use kiln_runtime::telemetry::logging::{LogFormat, LogLevel, InvalidLogLevel};

/// The longest queue delay that the batcher takes.
const MINUTE: Duration = Duration::from_secs(60);
/// No time-out is longer than a day: longer ones are mistakes.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Nothing is kept for longer.
pub const CENTURY: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Reads typed values out of sources.
pub(super) struct Reader<'a>(pub(super) &'a Sources);

impl Reader<'_> {
    /// The text of a setting that may be absent. An empty text counts as absent, as is usual for variables.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|(text, _)| text).filter(|text| !text.is_empty())
    }

    /// The text of a setting that has a default.
    pub(super) fn required(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |(text, _)| text)
    }

    pub(super) fn parsed<T: FromStr>(&self, key: &str, allowed: &str) -> Result<T, ConfigError> {
        self.required(key).parse().map_err(|_| self.refuse(key, &format!("must be {allowed}")))
    }

    /// The address to listen on.
    pub(super) fn listen(&self) -> Result<SocketAddr, ConfigError> {
        let is_port = matches!(self.0.get("listen"), Some((_, Origin::Variable(name))) if name == PORT);
        let allowed = if is_port { "a port, such as 8080" } else { "an address and a port, such as 127.0.0.1:8080" };
        self.parsed("listen", allowed)
    }

    /// What stands between commas, spaces around it left out; nothing where the setting is absent.
    pub(super) fn list<T: FromStr>(&self, key: &str, allowed: &str) -> Result<Vec<T>, ConfigError> {
        let parts = self.text(key).into_iter().flat_map(|text| text.split(','));
        let all: Result<_, _> = parts.map(|part| part.trim().parse()).collect();
        all.map_err(|_| self.refuse(key, &format!("must be {allowed}")))
    }

    pub(super) fn between(&self, key: &str, least: usize, most: usize) -> Result<usize, ConfigError> {
        let number = self.required(key).parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.refuse(key, &format!("must be a whole number from {least} to {most}")))
    }

    /// A number of threads, or what this machine suggests.
    pub(super) fn threads(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        if matches!(self.0.get(key), Some((_, Origin::Default))) {
            return Ok(default);
        }
        self.between(key, 1, 1024)
    }

    /// A time above zero.
    pub(super) fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let time = self.duration_or_none(key)?;
        if time.is_zero() {
            return Err(self.refuse(key, "must be above 0"));
        }
        Ok(time)
    }

    /// A time that may be zero.
    pub(super) fn duration_or_none(&self, key: &str) -> Result<Duration, ConfigError> {
        let time = humantime::parse_duration(self.required(key)).ok().filter(|time| *time <= DAY);
        time.ok_or_else(|| self.refuse(key, "must be a time of at most a day with its unit, such as 5ms, 2s or 1m"))
    }

    /// A time above zero for which something is kept: days, or years.
    pub(super) fn long(&self, key: &str) -> Result<Duration, ConfigError> {
        let time = humantime::parse_duration(self.required(key)).ok();
        let time = time.filter(|time| !time.is_zero() && *time <= CENTURY);
        time.ok_or_else(|| {
            self.refuse(key, "must be a time above 0 and at most a century with its unit, such as 12h, 30d or 1y")
        })
    }

    /// A time that the batcher takes as its queue delay.
    pub(super) fn queue_delay(&self, key: &str) -> Result<Duration, ConfigError> {
        let delay = self.duration_or_none(key)?;
        if delay > MINUTE {
            return Err(self.refuse(key, "must be at most a minute"));
        }
        Ok(delay)
    }

    /// A number of bytes.
    pub(super) fn bytes(&self, key: &str, least: u64, most: u64) -> Result<usize, ConfigError> {
        let size = self.required(key).parse::<bytesize::ByteSize>().ok().map(|size| size.as_u64());
        let size = size.filter(|size| (least..=most).contains(size)).and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| {
            let (least, most) = (bytesize::ByteSize(least), bytesize::ByteSize(most));
            self.refuse(key, &format!("must be a size from {least} to {most}, such as 64KiB or 20MiB"))
        })
    }

    /// The name of a model of this program.
    pub(super) fn model(&self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.text(key) {
            Some(name) if Model::named(name).is_none() => {
                let known: Vec<&str> = Model::all().map(|model| model.spec().name).collect();
                Err(self.refuse(key, &format!("must be a model that was built in: {}", known.join(", "))))
            }
            name => Ok(name.map(ToString::to_string)),
        }
    }

    pub(super) fn log_level(&self, key: &str) -> Result<LogLevel, ConfigError> {
        self.required(key).parse().map_err(|error: InvalidLogLevel| self.refuse(key, &error.to_string()))
    }

    pub(super) fn log_format(&self, key: &str) -> Result<LogFormat, ConfigError> {
        match self.required(key) {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(self.refuse(key, "must be text or json")),
        }
    }

    pub(super) fn refuse(&self, key: &str, why: &str) -> ConfigError {
        let (text, place) = self.place(key);
        ConfigError(format!("{place} '{}' {why}", shown(text)))
    }

    /// As [`Self::refuse`], without the value.
    pub(super) fn refuse_secret(&self, key: &str, why: &str) -> ConfigError {
        ConfigError(format!("{} {why}", self.place(key).1))
    }

    fn place(&self, key: &str) -> (&str, String) {
        match self.0.get(key) {
            Some((text, Origin::File(path))) => (text, format!("{}: {key}", path.display())),
            Some((text, Origin::Default)) => (text, format!("--{key}")),
            // As it was given.
            Some((text, Origin::Variable(name))) if name == PORT => {
                (text.strip_prefix(ANY_ADDRESS).unwrap_or(text), name.clone())
            }
            Some((text, origin)) => (text, origin.to_string()),
            None => ("", format!("--{key}")),
        }
    }
}

//! What `--log-level` may say: levels for everything or for parts of the program, as `tracing` directives.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::target;

/// Directives that are known to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

/// A text that is no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be error, warn, info, debug, trace, off, or directives such as 'warn,kiln=debug'")]
pub struct UnknownLevel;

impl LogLevel {
    /// The filter for the subscriber.
    ///
    /// Whatever the level, a request's lines keep its id, and the log tells what is missing of it (which is nothing where
    /// nothing is logged); unless the directives name those very targets.
    pub(super) fn filter(&self) -> EnvFilter {
        EnvFilter::new(format!("{}=error,{}=warn,{}", target::REQUEST, target::LOG, self.0))
    }
}

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A lone word would be taken for a part of the program, and everything else would fall silent.
        let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
        let fits = |part: &str| part.contains('=') || is_level(part.trim());
        if !text.split(',').all(fits) || EnvFilter::try_new(text).is_err() {
            return Err(UnknownLevel);
        }
        Ok(Self(text.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken() {
        for text in ["info", "WARN", "off", "warn,kiln=debug", "warn,kiln::app=info", "info,[request{id=7}]=trace"] {
            assert!(text.parse::<LogLevel>().is_ok(), "{text}");
        }
    }

    #[test]
    fn words_that_would_silence_the_log_are_refused() {
        for text in ["", "loud", "verbose", "warn,kiln", "warn,,info", "kiln=loud", "warning"] {
            assert_eq!(text.parse::<LogLevel>(), Err(UnknownLevel), "{text:?}");
        }
    }
}

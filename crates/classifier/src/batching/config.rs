//! What an operator can set about batching, with defaults and ranges.

use std::time::Duration;

use tokio::sync::Semaphore;

/// Longer than this, a delay hides a wrong unit: nobody waits a minute for company.
const MAX_QUEUE_DELAY: Duration = Duration::from_secs(60);

/// Settings of one batcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The most pictures that the engine is given at once, 1 or more. 8 by default.
    pub max_batch_size: usize,
    /// How long a free engine may be held back so that a batch can fill, at most a minute. Zero by
    /// default: a free engine takes whatever waits. The timer counts whole milliseconds and rounds
    /// up.
    pub max_queue_delay: Duration,
    /// The most pictures that may be inside at once: being decoded, waiting and running. 1 or more,
    /// 256 by default.
    pub queue_capacity: usize,
    /// After how long without a batch an engine checks itself; never if zero. 30 s by default.
    pub self_test_interval: Duration,
    /// An engine that takes longer for a batch, to check itself or to be replaced hangs for good; never if zero. A minute by
    /// default.
    pub device_timeout: Duration,
}

/// A setting that cannot work. The fault is the operator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No batch could ever hold a picture.
    #[error("the maximum batch size is 0; it has to be at least 1")]
    NoBatch,
    /// The delay is longer than a minute.
    #[error("the maximum queue delay is {0:?}; it has to be at most {MAX_QUEUE_DELAY:?}")]
    DelayTooLong(Duration),
    /// Nobody could ever be admitted, or more than can be counted.
    #[error("the queue capacity is {0}; it has to be from 1 to {most}", most = Semaphore::MAX_PERMITS)]
    Capacity(usize),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_batch_size: 8,
            max_queue_delay: Duration::ZERO,
            queue_capacity: 256,
            self_test_interval: Duration::from_secs(30),
            device_timeout: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Checks every setting's range.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_batch_size == 0 {
            return Err(ConfigError::NoBatch);
        }
        if self.max_queue_delay > MAX_QUEUE_DELAY {
            return Err(ConfigError::DelayTooLong(self.max_queue_delay));
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.queue_capacity) {
            return Err(ConfigError::Capacity(self.queue_capacity));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn what_could_never_answer_is_refused() {
        let good = Config::default();
        let no_batch = Config { max_batch_size: 0, ..good };
        let nobody = Config { queue_capacity: 0, ..good };
        let wrong_unit = Config { max_queue_delay: Duration::MAX, ..good };
        assert_eq!(no_batch.validate(), Err(ConfigError::NoBatch));
        assert_eq!(nobody.validate(), Err(ConfigError::Capacity(0)));
        assert_eq!(wrong_unit.validate(), Err(ConfigError::DelayTooLong(Duration::MAX)));
    }
}

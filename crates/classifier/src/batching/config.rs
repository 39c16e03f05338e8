//! The settings of a batcher, with their defaults and ranges.

use std::time::Duration;

use tokio::sync::Semaphore;

/// The maximum of [`Config::max_queue_delay`]. A longer delay is probably a value in the wrong unit.
const MAX_QUEUE_DELAY: Duration = Duration::from_secs(60);

/// Settings of one batcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Maximum number of images in a batch, at least 1. Default: 8.
    pub max_batch_size: usize,
    /// How long a free engine waits for a batch to fill, at most one minute. Default: zero, so that a free engine takes
    /// the images that wait. The timer counts whole milliseconds and rounds up.
    pub max_queue_delay: Duration,
    /// Maximum number of images in flight: being decoded, waiting and running. At least 1. Default: 256.
    pub queue_capacity: usize,
    /// An engine that ran no batch for this long runs a self-test. Zero disables the self-test. Default: 30 s.
    pub self_test_interval: Duration,
    /// An engine that takes longer for a batch, a self-test or a rebuild is considered hung for good. Zero disables the
    /// check. Default: one minute.
    pub device_timeout: Duration,
}

/// A setting that is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A batch could not contain any image.
    #[error("the maximum batch size is 0; it must be at least 1")]
    BatchSize,
    /// The delay is longer than a minute.
    #[error("the maximum queue delay is {0:?}; it must be at most {MAX_QUEUE_DELAY:?}")]
    QueueDelay(Duration),
    /// No image could be admitted, or more images than the semaphore can count.
    #[error("the queue capacity is {0}; it must be from 1 to {max}", max = Semaphore::MAX_PERMITS)]
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
    /// Checks the range of every setting.
    ///
    /// # Errors
    ///
    /// Returns the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.max_batch_size == 0 {
            return Err(ConfigError::BatchSize);
        }
        if self.max_queue_delay > MAX_QUEUE_DELAY {
            return Err(ConfigError::QueueDelay(self.max_queue_delay));
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
    fn defaults_are_in_range() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn out_of_range_settings_are_refused() {
        let good = Config::default();
        let no_batch = Config { max_batch_size: 0, ..good };
        let no_capacity = Config { queue_capacity: 0, ..good };
        let wrong_unit = Config { max_queue_delay: Duration::MAX, ..good };
        assert_eq!(no_batch.validate(), Err(ConfigError::BatchSize));
        assert_eq!(no_capacity.validate(), Err(ConfigError::Capacity(0)));
        assert_eq!(wrong_unit.validate(), Err(ConfigError::QueueDelay(Duration::MAX)));
    }
}

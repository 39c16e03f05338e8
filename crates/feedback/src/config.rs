//! Settings of the feedback store.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Settings of the feedback store: its folder, and how much it retains. Feedback, and each prediction with feedback, is kept
/// without limit.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of `--data-dir`. It is created if missing.
    pub data_dir: PathBuf,
    /// Maximum number of predictions without feedback.
    pub prediction_retention_count: usize,
    /// How long a prediction without feedback is kept.
    pub prediction_retention: Duration,
    /// Percentage of images that are stored.
    pub image_sample_percent: Percentage,
    /// How long an image is kept after it was last sent.
    pub image_retention: Duration,
    /// Maximum total size of all stored images, in bytes.
    pub image_retention_bytes: u64,
}

/// A percentage from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentage(f64);

/// The text is not a percentage from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage from 0 to 100, such as 5 or 0.5")]
pub struct ParsePercentageError;

impl Percentage {
    /// Returns the percentage as a fraction, from 0 to 1.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percentage {
    type Err = ParsePercentageError;

    fn from_str(text: &str) -> Result<Self, ParsePercentageError> {
        let number = text.trim().trim_end_matches('%').trim_end().parse().ok();
        number.filter(|number| (0.0..=100.0).contains(number)).map(Self).ok_or(ParsePercentageError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_out_of_range_is_refused() {
        assert_eq!(["0", "2.5", "100%"].map(|text| text.parse::<Percentage>().unwrap().fraction()), [0.0, 0.025, 1.0]);
        for text in ["-1", "101", "NaN", "inf", "", "all"] {
            assert_eq!(text.parse::<Percentage>(), Err(ParsePercentageError), "{text}");
        }
    }
}

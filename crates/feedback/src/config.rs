//! The room's own settings: where everything lies, and for how long.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Where predictions and feedback are kept, and how many of them. Feedback and the predictions that it is about are kept for
/// good.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder. It is made if it is not there.
    pub folder: PathBuf,
    /// The most predictions without feedback.
    pub prediction_retention_count: usize,
    /// How long predictions without feedback are kept.
    pub prediction_retention: Duration,
    /// The part of the pictures that are kept.
    pub image_sample_percent: Percentage,
    /// How long a picture is kept after it was last sent.
    pub image_retention: Duration,
    /// Bytes of all pictures together.
    pub image_retention_bytes: u64,
}

/// From 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentage(f64);

/// A text that is no percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage from 0 to 100, such as 5 or 0.5")]
pub struct NotAPercentage;

impl Percentage {
    /// As a part of 1.
    pub fn part(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percentage {
    type Err = NotAPercentage;

    fn from_str(text: &str) -> Result<Self, NotAPercentage> {
        let number = text.trim().trim_end_matches('%').trim_end().parse().ok();
        number.filter(|number| (0.0..=100.0).contains(number)).map(Self).ok_or(NotAPercentage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_have_bounds() {
        assert_eq!(["0", "2.5", "100%"].map(|text| text.parse::<Percentage>().unwrap().part()), [0.0, 0.025, 1.0]);
        for text in ["-1", "101", "NaN", "inf", "", "all"] {
            assert_eq!(text.parse::<Percentage>(), Err(NotAPercentage), "{text}");
        }
    }
}

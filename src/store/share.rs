//! Which part of the requests a canary answers.

use std::str::FromStr;

use super::StoreError;

/// A part of the requests, from 0 to 1. It is typed as `10%` or `0.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

impl Share {
    /// That part.
    ///
    /// # Errors
    ///
    /// [`StoreError::Share`]: it is below 0, above 1, or no number.
    pub fn new(part: f64) -> Result<Self, StoreError> {
        if (0.0..=1.0).contains(&part) { Ok(Self(part)) } else { Err(StoreError::Share(part)) }
    }

    /// The part, in 0..=1.
    pub fn part(self) -> f64 {
        self.0
    }

    /// The same for a person, in percents.
    pub fn percents(self) -> f64 {
        (self.0 * 1e4).round() / 1e2
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percents) => (percents, 100.0),
            None => (text, 1.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| "must be a number, such as 10% or 0.1")?;
        Self::new(number / whole).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_part_of_the_whole_however_it_is_typed() {
        for (text, share) in [("10%", 0.1), ("0.1", 0.1), ("100%", 1.0), ("0", 0.0), ("12.5 %", 0.125)] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "ten", "1.5", "101%", "-1%", "NaN", "inf"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        for part in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(Share::new(part), Err(StoreError::Share(_))), "{part}");
        }
        assert_eq!(Share(0.1234).percents(), 12.34);
    }
}

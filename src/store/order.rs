//! What an operator may ask of a store, as `kiln models` has it.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Canary, StoreError};

/// One thing to be done. Where there is a `model`, it is a name.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Show every version.
    List,
    /// Take in weights.
    Add {
        /// Whose graph they are for.
        model: String,
        /// A Burnpack file.
        file: PathBuf,
        /// What to call them; the next number where absent.
        version: Option<String>,
    },
    /// Write weights to a file.
    Export {
        /// Whose.
        model: String,
        /// Which; those of the stable version where absent.
        version: Option<String>,
        /// The file.
        out: PathBuf,
    },
    /// Make a version stable.
    Promote {
        /// Of which model.
        model: String,
        /// Which.
        version: String,
    },
    /// Make the version stable that was before.
    Rollback {
        /// Of which model.
        model: String,
    },
    /// Have a version answer some requests, or none any more.
    Canary {
        /// Of which model.
        model: String,
        /// Which, and how many.
        canary: Option<Canary>,
    },
    /// Have a version compared, or none any more.
    Shadow {
        /// Of which model.
        model: String,
        /// Which.
        version: Option<String>,
    },
    /// Delete a version.
    Remove {
        /// Of which model.
        model: String,
        /// Which.
        version: String,
    },
}

/// A part of the requests as it is typed, `10%` or `0.1`: from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percents) => (percents, 100.0),
            None => (text, 1.0),
        };
        let share =
            number.trim().parse::<f64>().map_err(|_| "must be a number, such as 10% or 0.1".to_string())? / whole;
        if (0.0..=1.0).contains(&share) { Ok(Self(share)) } else { Err(StoreError::Share(share).to_string()) }
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
    }
}

//! Which versions of a model are served, and how they come and go.

use metrics::{counter, gauge};

use super::names::{SHADOW_COMPARED, SWAPS, VERSION_INFO};

/// What became of a version that was given a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It is the stable one now.
    Swapped,
    /// It does not load, or computes wrongly, and stays out.
    Refused,
    /// It was a canary or a shadow, broke and was taken out.
    Withdrawn,
}

impl Swap {
    const ALL: [Self; 3] = [Self::Swapped, Self::Refused, Self::Withdrawn];

    fn word(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// Counts a model's swaps from zero on.
pub fn swaps_begin(model: &'static str) {
    for outcome in Swap::ALL {
        counter!(SWAPS.name, "model" => model, "outcome" => outcome.word()).increment(0);
    }
}

/// A version came, or did not.
pub fn swap(model: &'static str, outcome: Swap) {
    counter!(SWAPS.name, "model" => model, "outcome" => outcome.word()).increment(1);
}

/// A version has a label, or has it no more.
pub fn version_label(model: &'static str, version: &str, label: &'static str, has: bool) {
    let version = version.to_string();
    gauge!(VERSION_INFO.name, "model" => model, "version" => version, "label" => label).set(f64::from(u8::from(has)));
}

/// A shadow was asked about a picture that the stable version had answered.
pub fn shadow_compared(model: &'static str, version: &str, agrees: bool) {
    let agrees = if agrees { "yes" } else { "no" };
    counter!(SHADOW_COMPARED.name, "model" => model, "version" => version.to_string(), "agrees" => agrees).increment(1);
}

//! `labels.toml`: which version of a model is stable, canary and shadow, and which one was stable before.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{StoreError, atomic_fs, check_version, printable};
use kiln_inference::model::VersionLabel;

pub(super) const FILE: &str = "labels.toml";

/// A fraction of the requests, from 0 to 1. Its text form is `10%` or `0.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrafficShare(f64);

impl TrafficShare {
    /// Returns the share for a fraction.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidShare`]: the fraction is below 0, above 1, or not a number.
    pub fn new(fraction: f64) -> Result<Self, StoreError> {
        if (0.0..=1.0).contains(&fraction) { Ok(Self(fraction)) } else { Err(StoreError::InvalidShare(fraction)) }
    }

    /// Returns the fraction, in 0..=1.
    pub fn fraction(self) -> f64 {
        self.0
    }

    /// Returns the share in percent, rounded to two decimals.
    pub fn percent(self) -> f64 {
        (self.0 * 1e4).round() / 1e2
    }
}

impl FromStr for TrafficShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percent) => (percent, 100.0),
            None => (text, 1.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| "must be a number, such as 10% or 0.1")?;
        Self::new(number / whole).map_err(|error| error.to_string())
    }
}

/// A version that serves a share of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The version.
    pub version: String,
    /// Its share of the requests that name no version.
    pub share: TrafficShare,
}

/// A model's labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// The version that serves requests; the built-in version if absent.
    pub stable: Option<String>,
    /// The version that serves some of the requests.
    pub canary: Option<Canary>,
    /// The version whose predictions are compared with those of the stable version.
    pub shadow: Option<String>,
    /// The version that was stable before.
    pub previous: Option<String>,
}

/// The content of the file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LabelsFile {
    stable: Option<String>,
    canary: Option<String>,
    canary_share: Option<f64>,
    shadow: Option<String>,
    previous: Option<String>,
}

impl Labels {
    /// Returns the stable version of a model with the built-in version `built_in`.
    pub fn stable_or<'a>(&'a self, built_in: &'a str) -> &'a str {
        self.stable.as_deref().unwrap_or(built_in)
    }

    /// Returns the labels of a version of a model with the built-in version `built_in`.
    pub fn of(&self, version: &str, built_in: &str) -> Vec<VersionLabel> {
        let has = |label: &VersionLabel| match label {
            VersionLabel::Stable => self.stable_or(built_in) == version,
            VersionLabel::Canary => self.canary.as_ref().is_some_and(|canary| canary.version == version),
            VersionLabel::Shadow => self.shadow.as_deref() == Some(version),
        };
        VersionLabel::ALL.into_iter().filter(has).collect()
    }

    /// Returns whether the file names the version as stable, canary or shadow. The built-in version is also stable if
    /// the file names no stable version; that does not count here.
    pub(super) fn names(&self, version: &str) -> bool {
        let canary = self.canary.as_ref().map(|canary| canary.version.as_str());
        [self.stable.as_deref(), canary, self.shadow.as_deref()].contains(&Some(version))
    }

    /// Reads the labels in a model's folder; no labels if there is no file.
    pub(super) fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let Some(text) = atomic_fs::read_text(&path)? else { return Ok(Self::default()) };
        let corrupt = |reason: String| StoreError::CorruptLabels { path: path.clone(), reason };
        let file: LabelsFile = toml::from_str(&text).map_err(|error| corrupt(printable(error.message())))?;
        file.into_labels().map_err(corrupt)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let canary = self.canary.as_ref();
        let file = LabelsFile {
            stable: self.stable.clone(),
            canary: canary.map(|canary| canary.version.clone()),
            canary_share: canary.map(|canary| canary.share.fraction()),
            shadow: self.shadow.clone(),
            previous: self.previous.clone(),
        };
        let text = toml::to_string(&file).expect("strings and a number can be written as TOML");
        atomic_fs::replace(&folder.join(FILE), text.as_bytes())
    }
}

impl LabelsFile {
    fn into_labels(self) -> Result<Labels, String> {
        for version in [&self.stable, &self.canary, &self.shadow, &self.previous].into_iter().flatten() {
            check_version(version).map_err(|error| error.clause())?;
        }
        let canary = match (self.canary, self.canary_share) {
            (Some(version), Some(fraction)) => {
                let share = TrafficShare::new(fraction)
                    .map_err(|_| format!("canary-share is {fraction}; it must be from 0 to 1"))?;
                Some(Canary { version, share })
            }
            (Some(_), None) => return Err("a canary needs a canary-share, from 0 to 1".to_string()),
            (None, Some(_)) => return Err("there is a canary-share, but no canary".to_string()),
            (None, None) => None,
        };
        Ok(Labels { stable: self.stable, canary, shadow: self.shadow, previous: self.previous })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_parses_as_percent_or_fraction() {
        for (text, share) in [("10%", 0.1), ("0.1", 0.1), ("100%", 1.0), ("0", 0.0), ("12.5 %", 0.125)] {
            assert_eq!(text.parse(), Ok(TrafficShare(share)), "{text}");
        }
        for text in ["", "%", "ten", "1.5", "101%", "-1%", "NaN", "inf"] {
            assert!(text.parse::<TrafficShare>().is_err(), "{text}");
        }
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(TrafficShare::new(fraction), Err(StoreError::InvalidShare(_))), "{fraction}");
        }
        assert_eq!(TrafficShare(0.1234).percent(), 12.34);
    }
}

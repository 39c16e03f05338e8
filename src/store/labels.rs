//! `labels.toml`: which version of a model answers, which one is tried, and which one answered before.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Share, StoreError, disk, name, shown};
use kiln_inference::model::VersionLabel;

pub(super) const FILE: &str = "labels.toml";

/// A version that answers a part of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// Which one.
    pub version: String,
    /// Which part of the requests that name no version.
    pub share: Share,
}

/// A model's labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// Who answers; the version that was built in where absent.
    pub stable: Option<String>,
    /// Who answers some of the requests.
    pub canary: Option<Canary>,
    /// Whose answers are compared with the stable ones.
    pub shadow: Option<String>,
    /// Who was stable before.
    pub previous: Option<String>,
}

/// The file's text.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    stable: Option<String>,
    canary: Option<String>,
    canary_share: Option<f64>,
    shadow: Option<String>,
    previous: Option<String>,
}

impl Labels {
    /// The stable version of a model that was built in as `built_in`.
    pub fn stable_or<'a>(&'a self, built_in: &'a str) -> &'a str {
        self.stable.as_deref().unwrap_or(built_in)
    }

    /// The labels of a version of a model that was built in as `built_in`.
    pub fn of(&self, version: &str, built_in: &str) -> Vec<VersionLabel> {
        let has = |label: &VersionLabel| match label {
            VersionLabel::Stable => self.stable_or(built_in) == version,
            VersionLabel::Canary => self.canary.as_ref().is_some_and(|canary| canary.version == version),
            VersionLabel::Shadow => self.shadow.as_deref() == Some(version),
        };
        VersionLabel::ALL.into_iter().filter(has).collect()
    }

    /// Whether a label that answers or is tried is given to the version by its name, rather than left to it.
    pub(super) fn names(&self, version: &str) -> bool {
        let canary = self.canary.as_ref().map(|canary| canary.version.as_str());
        [self.stable.as_deref(), canary, self.shadow.as_deref()].contains(&Some(version))
    }

    /// No labels where there is no file.
    pub(super) fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let Some(text) = disk::read_small(&path)? else { return Ok(Self::default()) };
        let refuse = |reason: String| StoreError::Labels { path: path.clone(), reason };
        let written: Written = toml::from_str(&text).map_err(|error| refuse(shown(error.message())))?;
        written.meant().map_err(refuse)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        let canary = self.canary.as_ref();
        let written = Written {
            stable: self.stable.clone(),
            canary: canary.map(|canary| canary.version.clone()),
            canary_share: canary.map(|canary| canary.share.part()),
            shadow: self.shadow.clone(),
            previous: self.previous.clone(),
        };
        let text = toml::to_string(&written).expect("texts and a number have a form in TOML");
        disk::replace(&folder.join(FILE), text.as_bytes())
    }
}

impl Written {
    fn meant(self) -> Result<Labels, String> {
        for version in [&self.stable, &self.canary, &self.shadow, &self.previous].into_iter().flatten() {
            name::check_version(version).map_err(|error| error.clause())?;
        }
        let canary = match (self.canary, self.canary_share) {
            (Some(version), Some(part)) => {
                let share =
                    Share::new(part).map_err(|_| format!("canary-share is {part}; it has to be from 0 to 1"))?;
                Some(Canary { version, share })
            }
            (Some(_), None) => return Err("a canary needs a canary-share, from 0 to 1".to_string()),
            (None, Some(_)) => return Err("there is a canary-share, but no canary".to_string()),
            (None, None) => None,
        };
        Ok(Labels { stable: self.stable, canary, shadow: self.shadow, previous: self.previous })
    }
}

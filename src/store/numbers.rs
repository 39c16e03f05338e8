//! `numbers.toml`: the highest number that a version of a model ever had. The next one is higher, also after that one was
//! removed: a number that meant other weights before would be taken for them by logs, metrics and people.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{StoreError, disk, shown};

const FILE: &str = "numbers.toml";

/// The file's text.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    last: u32,
}

/// The number in a version's name. From a million on, such as dates and times, they are names like others.
fn number(version: &str) -> Option<u32> {
    version.parse().ok().filter(|number| *number < 1_000_000)
}

/// The number after all that versions in `folder` have or had, and after the built-in version's.
pub(super) fn next(folder: &Path, built_in: &str) -> Result<u64, StoreError> {
    let highest = highest(folder)?.max(number(built_in).unwrap_or(0));
    Ok(u64::from(highest) + 1)
}

/// Remembers a version's number, if its name is one, and those of all that are there. To be called by who holds the folder's
/// lock, before the version comes or goes.
pub(super) fn remember(folder: &Path, version: &str) -> Result<(), StoreError> {
    let last = highest(folder)?.max(number(version).unwrap_or(0));
    if last == written(folder)? {
        return Ok(());
    }
    let text = toml::to_string(&Written { last }).expect("a number has a form in TOML");
    disk::replace(&folder.join(FILE), text.as_bytes())
}

fn highest(folder: &Path) -> Result<u32, StoreError> {
    let there = disk::folders(folder)?.iter().filter_map(|name| number(name)).max();
    Ok(written(folder)?.max(there.unwrap_or(0)))
}

fn written(folder: &Path) -> Result<u32, StoreError> {
    let path = folder.join(FILE);
    let Some(text) = disk::read_small(&path)? else { return Ok(0) };
    let read: Result<Written, _> = toml::from_str(&text);
    read.map(|written| written.last).map_err(|error| StoreError::Numbers { path, reason: shown(error.message()) })
}

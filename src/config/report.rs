//! `kiln config check`: every setting, its value and where that comes from.

use std::fmt::Write as _;

use super::settings::SETTINGS;
use super::sources::Sources;

/// A table of the effective settings. Secrets are not shown.
pub fn report(sources: &Sources) -> String {
    let mut table = format!("{:<20} {:<24} ORIGIN\n", "SETTING", "VALUE");
    for setting in SETTINGS {
        let (value, origin) = match sources.get(setting.key) {
            Some((_, origin)) if setting.secret => ("(set)", origin.to_string()),
            Some((text, origin)) => (text, origin.to_string()),
            None => ("(not set)", "default".to_string()),
        };
        let _ = writeln!(table, "{:<20} {value:<24} {origin}", setting.key);
    }
    table
}

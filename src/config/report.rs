//! `kiln config check`: every setting, its value and where that comes from.

use std::fmt::Write as _;

use super::settings::SETTINGS;
use super::shown::shown;
use super::sources::Sources;
use kiln_runtime::telemetry::traces::Endpoint;

/// A table of the effective settings. Secrets are not shown, nor what may be one in an address.
pub fn report(sources: &Sources) -> String {
    let mut table = format!("{:<20} {:<24} ORIGIN\n", "SETTING", "VALUE");
    for setting in SETTINGS {
        let (value, origin) = match sources.get(setting.key) {
            Some((_, origin)) if setting.secret => ("(set)".to_string(), origin.to_string()),
            Some((text, origin)) => (effective(setting.key, text), origin.to_string()),
            None => ("(not set)".to_string(), "default".to_string()),
        };
        let _ = writeln!(table, "{:<20} {value:<24} {origin}", setting.key);
    }
    table
}

/// A value as it is used.
fn effective(key: &str, text: &str) -> String {
    let endpoint = (key == "otlp-endpoint").then(|| text.parse().ok()).flatten();
    endpoint.map_or_else(|| shown(text), |endpoint: Endpoint| endpoint.to_string())
}

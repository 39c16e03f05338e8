//! The program itself, its environment variables, and the system clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::finding::Finding;
use crate::config::Inspection;

/// A clock before the release of this program is wrong: 2026-11-01T00:00:00Z. Raise it with each release.
const RELEASED: Duration = Duration::from_secs(1_793_491_200);
/// A clock this long after the release is wrong, most likely.
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// Checks the build, the settings as a whole and the clock.
pub(super) fn check(inspection: &Inspection) -> Vec<Finding> {
    let mut findings = vec![version()];
    findings.extend(settings(inspection));
    findings.extend(variables(&crate::config::unknown_variables(std::env::vars_os())));
    let config = &inspection.config;
    findings.push(clock(SystemTime::now(), config.auth.tokens.is_some() || inspection.certificate.is_some()));
    findings
}

fn version() -> Finding {
    let features = [
        ("autotune", cfg!(feature = "autotune")),
        ("fusion", cfg!(feature = "fusion")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    let features: Vec<&str> = features.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect();
    let features = if features.is_empty() { "none".to_string() } else { features.join(", ") };
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    let detail = format!("kiln {} for {system} on {architecture}; features: {features}", env!("CARGO_PKG_VERSION"));
    match cfg!(debug_assertions) {
        true => Finding::warning(
            "version",
            format!("{detail}; this is a debug build, which is many times slower"),
            "cargo build --release",
        ),
        false => Finding::ok("version", detail),
    }
}

/// Returns a finding for each setting with an error that no other check reports in more detail.
fn settings(inspection: &Inspection) -> Vec<Finding> {
    let elsewhere = ["api-key", "tls-cert"];
    let errors = inspection.errors.iter().filter(|error| !elsewhere.contains(&error.key));
    let problem = |message: String| {
        let fix = "correct the setting; 'kiln serve --help' lists the allowed values";
        Finding::problem("settings", message, fix)
    };
    let mut findings: Vec<Finding> = errors.map(|error| problem(error.error.to_string())).collect();
    if inspection.errors.is_empty() {
        findings.push(Finding::ok("settings", "valid; 'kiln config check' lists them"));
    }
    findings
}

fn variables(warnings: &[String]) -> Vec<Finding> {
    let fix = "rename or unset the variable; 'kiln serve --help' lists the variables";
    warnings.iter().map(|warning| Finding::warning("variables", warning, fix)).collect()
}

/// Compares the clock with the release of the program. `is_needed`: whether the server compares times with those of other
/// machines, as tokens and certificates require.
fn clock(now: SystemTime, is_needed: bool) -> Finding {
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let shown = humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch);
    let reason = match since_epoch {
        time if time < RELEASED => "which is before this program was released",
        time if time > RELEASED + LIFETIME => "which is decades after this program was released",
        _ => return Finding::ok("clock", shown.to_string()),
    };
    let detail = format!("{shown}, {reason}; tokens, certificates and expiry dates of keys depend on it");
    let fix = "timedatectl set-ntp true, on the host if this is a container";
    if is_needed { Finding::problem("clock", detail, fix) } else { Finding::warning("clock", detail, fix) }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::config::Sources;

    #[test]
    fn clock_before_the_release_is_a_problem_if_tokens_or_certificates_need_it() {
        let at = |text: &str, is_needed| clock(humantime::parse_rfc3339(text).unwrap(), is_needed);
        assert_eq!(at("2026-11-01T00:00:00Z", true), Finding::ok("clock", "2026-11-01T00:00:00Z"));
        assert_eq!(at("1970-01-01T00:00:09Z", true).state, State::Problem);
        assert_eq!(at("2026-10-31T23:59:59Z", false).state, State::Warning);
        assert_eq!(at("2099-01-01T00:00:00Z", false).state, State::Warning);
        assert!(at("1970-01-01T00:00:09Z", true).detail.starts_with("1970-01-01T00:00:09Z, which is before"));
    }

    #[test]
    fn invalid_setting_is_a_problem_whose_fix_works_in_spite_of_it() {
        let flags = [("threads", "none".to_string())].into_iter().collect();
        let sources = Sources::gather(&flags, &|_: &str| None, None).unwrap();
        let found = settings(&Inspection::of(&sources));
        // 'kiln config check' exits with the first error.
        let fix = "correct the setting; 'kiln serve --help' lists the allowed values";
        assert_eq!((found.len(), found[0].state, found[0].fix.as_deref()), (1, State::Problem, Some(fix)));
    }

    #[test]
    fn misspelt_variable_is_a_warning() {
        let found = variables(&["KILN_LISTN is not a setting; did you mean KILN_LISTEN?".to_string()]);
        assert_eq!((found.len(), found[0].state), (1, State::Warning));
        assert!(found[0].detail.contains("KILN_LISTEN"));
    }
}

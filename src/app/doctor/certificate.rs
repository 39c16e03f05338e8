//! The TLS certificate: whether it can be used, and how long it is valid.

use std::path::Path;
use std::time::{Duration, SystemTime};

use kiln_server::CertificateExpiry;
use model_import::import::shell_path;

use super::finding::Finding;
use crate::config::Inspection;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Fewer days than this are reported: most certificates are renewed earlier.
const MIN_DAYS: u64 = 14;

/// Checks the certificate.
pub(super) fn check(inspection: &Inspection) -> Vec<Finding> {
    let error = inspection.errors.iter().find(|error| error.key == "tls-cert");
    vec![match (error, &inspection.certificate) {
        (Some(error), path) => {
            let path = path.as_deref().map_or_else(|| "CERTIFICATE".to_string(), shell_path);
            let fix = format!(
                "set both --tls-cert and --tls-key; openssl x509 -noout -text -in {path} shows the certificate"
            );
            Finding::problem("certificate", error.error.to_string(), fix)
        }
        (None, Some(path)) => validity(path, kiln_server::certificate_expiry(path), SystemTime::now()),
        (None, None) => Finding::ok("certificate", "none: plain HTTP"),
    }]
}

fn validity(path: &Path, expiry: Option<CertificateExpiry>, now: SystemTime) -> Finding {
    let (shown, fix) = (path.display(), "renew the certificate; a running server loads the new file by itself");
    let Some(CertificateExpiry { server, earliest }) = expiry else {
        return Finding::ok("certificate", format!("{shown} is valid; its expiry cannot be read"));
    };
    let date = humantime::format_rfc3339_seconds(server);
    let Some(days) = days_until(server, now) else {
        return Finding::problem("certificate", format!("{shown} expired at {date}"), fix);
    };
    let detail = format!("{shown} is valid until {date}, for {days} days");
    if days < MIN_DAYS {
        return Finding::warning("certificate", detail, fix);
    }
    if days_until(earliest, now).is_some_and(|days| days >= MIN_DAYS) {
        return Finding::ok("certificate", detail);
    }
    // Clients that trust a certificate below it accept the chain.
    let date = humantime::format_rfc3339_seconds(earliest);
    let detail = format!("{detail}; a further certificate of its chain is valid until {date} only");
    Finding::warning("certificate", detail, "renew the chain: ask the issuer for its current intermediate certificates")
}

/// Returns the number of days until a time, or nothing if it has passed.
fn days_until(time: SystemTime, now: SystemTime) -> Option<u64> {
    time.duration_since(now).ok().map(|left| left.as_secs() / DAY.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn certificate_is_reported_two_weeks_before_it_expires() {
        let now = humantime::parse_rfc3339("2027-01-31T12:00:00Z").unwrap();
        let found = |server| validity(Path::new("cert.pem"), Some(CertificateExpiry { server, earliest: server }), now);
        let ok = found(now + 14 * DAY);
        assert_eq!(
            (ok.state, ok.detail.as_str()),
            (State::Ok, "cert.pem is valid until 2027-02-14T12:00:00Z, for 14 days")
        );
        assert_eq!(found(now + 14 * DAY - Duration::from_secs(1)).state, State::Warning);
        let expired = found(now - DAY);
        assert_eq!(
            (expired.state, expired.detail.as_str()),
            (State::Problem, "cert.pem expired at 2027-01-30T12:00:00Z")
        );
    }

    #[test]
    fn expired_certificate_behind_the_first_one_is_a_warning() {
        let now = humantime::parse_rfc3339("2027-01-31T12:00:00Z").unwrap();
        let expiry = CertificateExpiry { server: now + 90 * DAY, earliest: now - DAY };
        let finding = validity(Path::new("cert.pem"), Some(expiry), now);
        assert_eq!(finding.state, State::Warning);
        assert!(finding.detail.ends_with("of its chain is valid until 2027-01-30T12:00:00Z only"), "{finding:?}");
    }
}

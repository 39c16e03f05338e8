//! The TLS certificate: whether it can be used, and how long it is valid.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::config::Inspection;
use crate::shell::word;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Fewer days than this are reported: most certificates are renewed earlier.
const MIN_DAYS: u64 = 14;

/// Checks the certificate.
pub(super) fn check(inspection: &Inspection) -> Vec<Finding> {
    let error = inspection.errors.iter().find(|error| error.key == "tls-cert");
    vec![match (error, &inspection.certificate) {
        (Some(error), path) => {
            let path =
                path.as_deref().map_or_else(|| "CERTIFICATE".to_string(), |path| word(&path.display().to_string()));
            let fix = format!(
                "set both --tls-cert and --tls-key; openssl x509 -noout -text -in {path} shows the certificate"
            );
            Finding::problem("certificate", error.error.to_string(), fix)
        }
        (None, Some(path)) => validity(path, kiln_server::certificate_expiry(path), SystemTime::now()),
        (None, None) => Finding::ok("certificate", "none: plain HTTP"),
    }]
}

fn validity(path: &Path, expiry: Option<SystemTime>, now: SystemTime) -> Finding {
    let (shown, fix) = (path.display(), "renew the certificate; a running server loads the new file by itself");
    let Some(expiry) = expiry else {
        return Finding::ok("certificate", format!("{shown} is valid; its expiry cannot be read"));
    };
    let date = humantime::format_rfc3339_seconds(expiry);
    let Ok(left) = expiry.duration_since(now) else {
        return Finding::problem("certificate", format!("{shown} expired at {date}"), fix);
    };
    let days = left.as_secs() / DAY.as_secs();
    let detail = format!("{shown} is valid until {date}, for {days} days");
    if days < MIN_DAYS { Finding::warning("certificate", detail, fix) } else { Finding::ok("certificate", detail) }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn certificate_is_reported_two_weeks_before_it_expires() {
        let now = humantime::parse_rfc3339("2027-01-31T12:00:00Z").unwrap();
        let found = |expiry| validity(Path::new("cert.pem"), Some(expiry), now);
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
}

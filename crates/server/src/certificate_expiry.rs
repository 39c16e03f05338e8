//! When a certificate expires. The TLS library does not report it, so this module reads the few fields before it.

use std::path::Path;
use std::time::SystemTime;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Tags of DER (ITU-T X.690) that precede the end of the validity in a certificate (RFC 5280, section 4.1).
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificates in a PEM file expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The expiry of the first certificate, which is that of the server.
    pub server: SystemTime,
    /// The earliest expiry of all certificates. Clients accept a chain with an expired certificate if they trust another one below
    /// it.
    pub earliest: SystemTime,
}

/// Returns the expiry of the certificates in a PEM file. `None` if the first certificate cannot be read.
pub fn certificate_expiry(chain: &Path) -> Option<CertificateExpiry> {
    let mut certificates = CertificateDer::pem_file_iter(chain).ok()?.map_while(Result::ok);
    let server = not_after(&certificates.next()?)?;
    let others = certificates.filter_map(|certificate| not_after(&certificate));
    Some(CertificateExpiry { server, earliest: others.fold(server, SystemTime::min) })
}

/// Returns the end of the validity of a certificate (DER).
fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    let mut certificate = Reader(Reader(certificate).value_of(SEQUENCE)?);
    let mut signed = Reader(certificate.value_of(SEQUENCE)?);
    // The version is optional. The serial number, the signature algorithm and the issuer follow.
    let (tag, _) = signed.next()?;
    if tag == VERSION {
        let _serial = signed.next()?;
    }
    let _algorithm = signed.value_of(SEQUENCE)?;
    let _issuer = signed.value_of(SEQUENCE)?;
    let mut validity = Reader(signed.value_of(SEQUENCE)?);
    let _not_before = validity.next()?;
    let (tag, text) = validity.next()?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// Parses `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`. RFC 5280 allows no other form.
fn time(tag: u8, text: &str) -> Option<SystemTime> {
    let text = match tag {
        // Two digits mean the years 1950 to 2049.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_string(),
        _ => return None,
    };
    let part = |start: usize| text.get(start..start + 2);
    let date = format!("{}-{}-{}", text.get(..4)?, part(4)?, part(6)?);
    humantime::parse_rfc3339(&format!("{date}T{}:{}:{}{}", part(8)?, part(10)?, part(12)?, text.get(14..)?)).ok()
}

/// Reads values of DER one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // The low bits are the number of bytes of the length. A certificate is shorter than 4 GiB.
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, value))
    }

    /// Reads the content of the next value if it has this tag.
    fn value_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Valid until 2027-01-31T12:00:00Z.
    const UNTIL_2027: &str = "\
-----BEGIN CERTIFICATE-----
MIIBBTCBrAIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARraWxuMB4XDTI2MDEw
MTAwMDAwMFoXDTI3MDEzMTEyMDAwMFowDzENMAsGA1UEAwwEa2lsbjBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABFnW53WNv03zbod1MIJCIrPfBi+DZ2ZsqAGZiDyk
HZOl5zN6JaVXpTwNAeoKoC111OH8CnBih7Lr22uwiE3xe+AwCgYIKoZIzj0EAwID
SAAwRQIhAOLZuIhbpmqb2uTEGHpp2hZ5qajqUbj7RSz51iT2nLzwAiBECKcLVVDi
kWN5yPumGi+/80KBSt5Y1xZcNMzokgFSxg==
-----END CERTIFICATE-----
";
    /// Valid until 2055-01-31T12:00:00Z, which has the longer form of a time.
    const UNTIL_2055: &str = "\
-----BEGIN CERTIFICATE-----
MIIBCDCBrgIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARraWxuMCAXDTI2MDEw
MTAwMDAwMFoYDzIwNTUwMTMxMTIwMDAwWjAPMQ0wCwYDVQQDDARraWxuMFkwEwYH
KoZIzj0CAQYIKoZIzj0DAQcDQgAEWdbndY2/TfNuh3UwgkIis98GL4NnZmyoAZmI
PKQdk6XnM3olpVelPA0B6gqgLXXU4fwKcGKHsuvba7CITfF74DAKBggqhkjOPQQD
AgNJADBGAiEA8jlq/2dntOqRyxFRmSsKTgkrwiGQhxsex/tzTLUGxtMCIQCUQFny
5FZKAkGQtBQlpCEyrF+xvHb2K7EoJQqyYdcmaw==
-----END CERTIFICATE-----
";

    /// Returns the expiry of the server's certificate, and the earliest one.
    fn expiry(pem: &str) -> Option<[u64; 2]> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem).unwrap();
        let CertificateExpiry { server, earliest } = certificate_expiry(file.path())?;
        Some([server, earliest].map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs()))
    }

    #[test]
    fn expiry_of_the_first_certificate_and_the_earliest_are_found() {
        assert_eq!(expiry(UNTIL_2027), Some([1_801_396_800; 2]));
        assert_eq!(expiry(UNTIL_2055), Some([2_685_009_600; 2]));
        assert_eq!(expiry(&format!("{UNTIL_2055}{UNTIL_2027}")), Some([2_685_009_600, 1_801_396_800]));
        assert_eq!(expiry(&format!("{UNTIL_2027}{UNTIL_2055}")), Some([1_801_396_800; 2]));
        assert_eq!(expiry("no certificate"), None);
    }

    #[test]
    fn two_digit_years_are_of_the_years_1950_to_2049() {
        let at = |tag, text| time(tag, text).map(|time| time.duration_since(UNIX_EPOCH).unwrap());
        assert_eq!(at(UTC_TIME, "700101000001Z"), Some(Duration::from_secs(1)));
        assert_eq!(at(GENERALIZED_TIME, "19700101000001Z"), Some(Duration::from_secs(1)));
        assert!(time(UTC_TIME, "490101000000Z") > time(UTC_TIME, "260101000000Z"));
        for wrong in ["", "26", "261301000000Z", "260101000000", "2601010000Z"] {
            assert_eq!(time(UTC_TIME, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn truncated_certificate_has_no_expiry() {
        let certificate = CertificateDer::from_pem_slice(UNTIL_2027.as_bytes()).unwrap();
        for length in 0..certificate.len() {
            assert_eq!(not_after(&certificate[..length]), None, "{length} bytes");
        }
        assert!(not_after(&certificate).is_some());
    }
}

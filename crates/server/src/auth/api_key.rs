//! API keys: the secret text, its SHA-256 digest, and the generation of new keys.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// Minimum length of an API key in bytes.
const MIN_LENGTH: usize = 16;

/// Prefix of a digest in a key file.
const DIGEST_PREFIX: &str = "sha256:";

/// An API key in clear text. `Debug` does not print the key, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

/// The SHA-256 digest of an API key, which is all that the server stores of it.
///
/// A generated key has 256 random bits and cannot be guessed. A slow password hash would add its cost to every request and
/// no security.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl ApiKey {
    /// Generates a key: `kiln_` followed by 32 random bytes from the operating system in base64url. It contains no dot,
    /// which distinguishes it from a JSON Web Token.
    ///
    /// # Panics
    ///
    /// Panics if the operating system provides no random bytes.
    pub fn generate() -> Self {
        Self(format!("kiln_{}", random_base64url::<32>()))
    }

    /// Parses a key that an operator chose.
    ///
    /// # Errors
    ///
    /// Returns a message if the key is too short to resist guessing, or contains characters that are not allowed in an
    /// HTTP header.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < MIN_LENGTH {
            return Err(format!("must have at least {MIN_LENGTH} characters; 'kiln keygen' generates a strong key"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without spaces; 'kiln keygen' generates a strong key".to_string());
        }
        Ok(Self(text.to_string()))
    }

    /// Returns the digest of the key.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }

    /// Returns the key in clear text. Only code that shows the key to its owner may call this.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

impl KeyDigest {
    /// Computes the digest of a key in the form in which a client sends it.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Compares two digests in constant time, so that the duration does not reveal where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for KeyDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        text.strip_prefix(DIGEST_PREFIX)
            .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
            .map(|()| Self(bytes))
            .ok_or_else(|| {
                format!(
                    "must be '{DIGEST_PREFIX}' followed by 64 hexadecimal digits; 'kiln keygen --id NAME' prints an example"
                )
            })
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIGEST_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// Returns `BYTES` random bytes from the operating system in base64url.
///
/// # Panics
///
/// Panics if the operating system provides no random bytes.
pub(super) fn random_base64url<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_text_follows_the_standard_and_round_trips() {
        // FIPS 180-4, the example with one block.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyDigest::of(b"abc").to_string(), abc);
        assert!(abc.parse::<KeyDigest>().unwrap().matches(&KeyDigest::of(b"abc")));
        assert!(!abc.parse::<KeyDigest>().unwrap().matches(&KeyDigest::of(b"abd")));
        let signs = format!("sha256:{}", "+1".repeat(32));
        for wrong in ["", "sha256:", &abc[7..], &abc[..70], &abc.replace('b', "g"), &signs] {
            assert!(wrong.parse::<KeyDigest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn digest_matches_only_the_same_key() {
        let digest = ApiKey::parse("0123456789abcdef").unwrap().digest();
        assert!(digest.matches(&KeyDigest::of(b"0123456789abcdef")));
        for other in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!digest.matches(&KeyDigest::of(other.as_bytes())), "{other}");
        }
    }

    #[test]
    fn weak_key_is_refused_and_debug_prints_no_key() {
        assert!(ApiKey::parse("short").is_err());
        assert!(ApiKey::parse("0123456789 abcdef").is_err());
        assert_eq!(format!("{:?}", ApiKey::parse("0123456789abcdef").unwrap()), "ApiKey(..)");
    }

    #[test]
    fn generated_keys_are_long_unique_and_valid_in_a_header() {
        let (one, two) = (ApiKey::generate(), ApiKey::generate());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), "kiln_".len() + 43);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    }
}

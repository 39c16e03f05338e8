//! A text that must not get out: it does not print.

use super::digest::Digest;

/// An API key. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The shortest key that is taken.
const SHORTEST: usize = 16;

impl Secret {
    /// A key that somebody chose.
    ///
    /// # Errors
    ///
    /// It is too short to resist guessing, or holds characters that a header cannot carry.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() < SHORTEST {
            return Err(format!("must have at least {SHORTEST} characters; 'kiln keygen' makes a good one"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("must be printable ASCII without spaces; 'kiln keygen' makes a good one".to_string());
        }
        Ok(Self(text.to_string()))
    }

    /// A key that was made from enough randomness.
    pub(super) fn made(text: String) -> Self {
        Self(text)
    }

    /// What may be kept of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The key itself, for the one place that shows it to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_matches() {
        let digest = Secret::parse("0123456789abcdef").unwrap().digest();
        assert!(digest.matches(&Digest::of(b"0123456789abcdef")));
        for other in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert!(!digest.matches(&Digest::of(other.as_bytes())), "{other}");
        }
    }

    #[test]
    fn weak_keys_are_refused_and_debug_shows_nothing() {
        assert!(Secret::parse("short").is_err());
        assert!(Secret::parse("0123456789 abcdef").is_err());
        assert_eq!(format!("{:?}", Secret::parse("0123456789abcdef").unwrap()), "Secret(..)");
    }
}

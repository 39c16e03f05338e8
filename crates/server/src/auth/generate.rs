//! Makes API keys.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::secret::Secret;

/// A fresh key: `kiln_` and 32 random bytes of the operating system in base64url. It holds no dot, which tells it
/// from a JSON Web Token.
///
/// # Panics
///
/// Panics if the operating system has no randomness to give.
pub fn generate() -> Secret {
    Secret::made(format!("kiln_{}", random::<32>()))
}

/// A few letters that nobody can guess, for the name of a file.
pub(super) fn suffix() -> String {
    random::<9>()
}

fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::generate;

    #[test]
    fn keys_are_long_different_and_fit_for_a_header() {
        let (one, two) = (generate(), generate());
        assert_ne!(one, two);
        assert_eq!(one.expose().len(), "kiln_".len() + 43);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    }
}

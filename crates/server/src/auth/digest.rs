//! What is kept of a key: its SHA-256. Keys are made from 256 random bits, so nobody finds one by trying, and a slow
//! password hash would only cost every request its time.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// What a digest starts with in a key file.
const PREFIX: &str = "sha256:";

impl Digest {
    /// Of a key as it was sent.
    pub fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Whether both are of the same key; in a time that does not tell where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || format!("must be '{PREFIX}' and 64 hexadecimal digits; 'kiln keygen --id NAME' prints one");
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 64 && digits.is_ascii());
        let digits = digits.ok_or_else(wanted)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wanted())?;
            // A sign would pass as a digit.
            *byte = u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+')).ok_or_else(wanted)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_digests_agree_with_the_standard() {
        // FIPS 180-4, the example of one block.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        assert!(abc.parse::<Digest>().unwrap().matches(&Digest::of(b"abc")));
        assert!(!abc.parse::<Digest>().unwrap().matches(&Digest::of(b"abd")));
        let signs = format!("sha256:{}", "+1".repeat(32));
        for wrong in ["", "sha256:", &abc[7..], &abc[..70], &abc.replace('b', "g"), &signs] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}

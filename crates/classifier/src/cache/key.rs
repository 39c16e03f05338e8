//! What makes two questions the same: who answers and how, what is asked, and the picture's bytes.

use blake3::Hasher;

/// A digest of all that an answer depends on. Two questions that differ share one as seldom as BLAKE3 collides, also where
/// somebody tries: what one client is told must not be another picture's answer.
pub type Key = [u8; 32];

/// Who answers, and how: a model's weights and labels, and what is done to a picture before.
#[derive(Clone, Copy, Debug)]
pub struct Answerer([u8; 32]);

impl Answerer {
    /// The one that these parts describe. Each is told from the next, wherever their borders are.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Hasher::new();
        for part in parts {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    /// The key of the question for the `top_k` most probable classes of a picture with these bytes, asked in that `epoch`:
    /// of what was answered in another nothing is found.
    pub fn key(&self, top_k: usize, epoch: u64, bytes: &[u8]) -> Key {
        // The picture comes first: BLAKE3 goes through chunks side by side, the more of them the nearer they are to the start.
        let mut digest = Hasher::new_keyed(&self.0);
        digest.update(bytes);
        digest.update(&(top_k as u64).to_le_bytes());
        digest.update(&epoch.to_le_bytes());
        digest.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_differ_in_anything_differ() {
        let answerer = |parts: &[&str]| Answerer::new(parts.iter().map(|part| part.as_bytes()));
        let one = answerer(&["model", "1"]);
        assert_eq!(one.key(5, 0, b"picture"), answerer(&["model", "1"]).key(5, 0, b"picture"));
        assert_ne!(one.key(5, 0, b"picture"), one.key(4, 0, b"picture"));
        assert_ne!(one.key(5, 0, b"picture"), one.key(5, 0, b"picturf"));
        assert_ne!(one.key(5, 0, b"picture"), one.key(5, 1, b"picture"));
        assert_ne!(one.key(5, 0, b"picture"), answerer(&["model", "2"]).key(5, 0, b"picture"));
        assert_ne!(one.key(5, 0, b"picture"), answerer(&["model1", ""]).key(5, 0, b"picture"));
    }
}

//! Which pictures are kept: a part of all, by a digest, so that the same picture always is, or never. It is asked before a
//! picture waits for the writer, on a thread that serves requests, so it looks at no more than some pieces of it.

use super::Config;

/// So many pieces of a picture, of so many bytes each, are looked at. One that is not larger is looked at as a whole.
const PIECES: usize = 8;
const PIECE: usize = 16 << 10;

/// The part, and the largest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    part: f64,
    /// Bytes that all of them may have together: one that is larger would drive all others out and could not stay itself.
    most: u64,
}

impl Choice {
    /// Nothing where no picture is kept.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let choice = Self { part: config.image_sample_percent.part(), most: config.image_retention_bytes };
        (choice.part > 0.0).then_some(choice)
    }

    /// Whether a picture with these bytes is kept.
    pub(super) fn takes(self, bytes: &[u8]) -> bool {
        // Its digest is as good as a random number, which is below the part that is kept or not.
        bytes.len() as u64 <= self.most && (self.part >= 1.0 || number(bytes) < self.part * 2_f64.powi(32))
    }
}

/// From 0 to 2^32.
fn number(bytes: &[u8]) -> f64 {
    let mut digest = blake3::Hasher::new();
    digest.update(&(bytes.len() as u64).to_le_bytes());
    for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(PIECE)) {
        digest.update(&piece[..piece.len().min(PIECE)]);
    }
    let [a, b, c, d, ..] = *digest.finalize().as_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_kept_as_were_asked_for_and_the_same_ones_each_time() {
        let kept = |part: f64| {
            let choice = Choice { part, most: 1 << 20 };
            (0..2000_u32).filter(|number| choice.takes(&number.to_le_bytes())).collect::<Vec<_>>()
        };
        assert_eq!((kept(0.0).len(), kept(1.0).len()), (0, 2000));
        let quarter = kept(0.25);
        assert!((400..600).contains(&quarter.len()), "{}", quarter.len());
        // More are kept by a higher part, and none fewer.
        assert!(quarter.iter().all(|number| kept(0.5).contains(number)));
    }

    #[test]
    fn large_pictures_differ_by_any_of_their_pieces() {
        let picture = vec![0; 1 << 20];
        for at in [0, picture.len() / 2, picture.len() * 7 / 8] {
            let mut other = picture.clone();
            other[at] = 1;
            assert!(number(&picture) != number(&other), "{at}");
        }
        assert!(number(&picture) != number(&picture[1..]));
    }

    #[test]
    fn one_that_could_not_stay_is_not_taken() {
        let choice = Choice { part: 1.0, most: 4 };
        assert!(choice.takes(b"four") && !choice.takes(b"five!"));
    }
}

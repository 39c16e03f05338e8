//! What an existing results file contains, for `--resume`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an existing results file contains.
#[derive(Debug, Default)]
pub struct EarlierRows {
    /// The files that have a row.
    pub files: FileSet,
    /// Number of rows.
    pub count: usize,
    /// Number of rows with an error.
    pub failed: usize,
}

impl EarlierRows {
    pub(super) fn add(&mut self, file: &str, is_failed: bool) {
        self.files.insert(file);
        self.count += 1;
        self.failed += usize::from(is_failed);
    }
}

/// A set of file names. It stores 16 bytes of each, so that millions of names fit in memory.
#[derive(Debug, Default)]
pub struct FileSet(HashSet<u128>);

impl FileSet {
    fn insert(&mut self, name: &str) {
        self.0.insert(digest(name));
    }

    /// Returns whether the set has a name.
    pub fn contains(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&digest(name))
    }
}

/// Among a billion names, two have the same digest with a probability of 10^-21.
fn digest(name: &str) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_their_files_found() {
        let mut rows = EarlierRows::default();
        assert!(!rows.files.contains("a"));
        rows.add("a", false);
        rows.add("b", true);
        assert_eq!((rows.count, rows.failed), (2, 1));
        assert_eq!(["a", "b", "ab", ""].map(|name| rows.files.contains(name)), [true, true, false, false]);
    }
}

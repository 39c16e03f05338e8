//! What an existing results file contains, for `--resume`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead};

/// What an existing results file contains.
#[derive(Debug, Default)]
pub struct EarlierRows {
    /// The files that have a row.
    pub files: EarlierFiles,
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

/// The names of files, with the number of rows of each: several files may have one name. It stores a digest of each name, so that
/// millions of names fit in memory.
#[derive(Clone, Debug, Default)]
pub struct EarlierFiles(HashMap<u128, u32>);

impl EarlierFiles {
    fn insert(&mut self, name: &str) {
        *self.0.entry(digest(name)).or_default() += 1;
    }

    /// Removes one row of a name. Returns whether there was one. Files are listed in the same order in each run, so that the
    /// first files of a name are those that have rows.
    pub fn take(&mut self, name: &str) -> bool {
        // Spares a first run the digests.
        if self.0.is_empty() {
            return false;
        }
        let Some(rows) = self.0.get_mut(&digest(name)).filter(|rows| **rows > 0) else { return false };
        *rows -= 1;
        true
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

/// The complete lines at the start of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompleteLines {
    /// Their length in bytes.
    pub(super) length: u64,
    /// Number of line feeds in them, those in quotes included.
    pub(super) lines: u64,
}

/// Finds the complete lines at the start of a file. A line feed in quotes does not end a line of CSV.
pub(super) fn complete_lines(reader: &mut impl BufRead, has_quotes: bool) -> io::Result<CompleteLines> {
    let (mut read, mut complete, mut is_quoted) = (CompleteLines::default(), CompleteLines::default(), false);
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(complete);
        }
        for byte in chunk {
            read.length += 1;
            match byte {
                b'"' if has_quotes => is_quoted = !is_quoted,
                b'\n' => {
                    read.lines += 1;
                    complete = if is_quoted { complete } else { read };
                }
                _ => {}
            }
        }
        let consumed = chunk.len();
        reader.consume(consumed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_counted_and_stands_for_one_file_of_its_name() {
        let mut rows = EarlierRows::default();
        assert!(!rows.files.take("a"));
        rows.add("a", false);
        rows.add("b", true);
        rows.add("a", false);
        assert_eq!((rows.count, rows.failed), (3, 1));
        let mut found = |names: &[&str]| names.iter().map(|name| rows.files.take(name)).collect::<Vec<_>>();
        assert_eq!(found(&["a", "b", "ab", ""]), [true, true, false, false]);
        assert_eq!(found(&["a", "a", "b"]), [true, false, false]);
    }
}

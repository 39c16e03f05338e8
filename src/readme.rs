//! Tables of the README that are written from the code: for tests alone. `KILN_WRITE_README=1 cargo test --release --lib` writes
//! them anew.

use std::sync::{Mutex, PoisonError};

/// Tests run side by side, and each writes the whole file.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that the README has `table` behind the comment that says that it is written from `source`, or puts it there.
pub fn holds(source: &str, table: &str) {
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("the README is there");
    let (begin, end) =
        (format!("<!-- written from {source} -->\n"), format!("<!-- end of what is written from {source} -->\n"));
    let (before, rest) = readme.split_once(&begin).expect("the README has a place for the table");
    let (found, after) = rest.split_once(&end).expect("the table ends");
    if std::env::var_os("KILN_WRITE_README").is_none() {
        assert!(found == table, "the README's table of {source} is old; KILN_WRITE_README=1 writes it anew");
    } else if found != table {
        std::fs::write(path, [before, &begin, table, &end, after].concat()).expect("the README can be written");
    }
}

//! Tables of the documents that are written from the code: for tests alone. `KILN_WRITE_DOCUMENTS=1 cargo test --release --lib`
//! writes them anew.

use std::sync::{Mutex, PoisonError};

/// Tests run side by side, and each writes a whole file.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that `document` has `table` behind the comment that says that it is written from `source`, or puts it there.
pub fn holds(document: &str, source: &str, table: &str) {
    let _one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(document);
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let (begin, end) =
        (format!("<!-- written from {source} -->\n"), format!("<!-- end of what is written from {source} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the document has a place for the table");
    let (found, after) = rest.split_once(&end).expect("the table ends");
    if std::env::var_os("KILN_WRITE_DOCUMENTS").is_none() {
        assert!(found == table, "{document}'s table of {source} is old; KILN_WRITE_DOCUMENTS=1 writes it anew");
    } else if found != table {
        std::fs::write(&path, [before, &begin, table, &end, after].concat()).expect("the document can be written");
    }
}

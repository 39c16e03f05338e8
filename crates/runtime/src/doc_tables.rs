//! Tables in the documentation that tests generate from the code. `KILN_WRITE_DOCUMENTS=1 cargo test --release --lib`
//! regenerates them.

use std::sync::{Mutex, PoisonError};

/// Serialises access to the documents: tests run in parallel, and each one writes a whole file.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that `document` contains `table` between the comments that name `source`. If `KILN_WRITE_DOCUMENTS` is set,
/// writes the table there instead.
///
/// # Panics
///
/// Panics if the document cannot be read or written, has no such comments, or contains another table.
pub fn assert_table(document: &str, source: &str, table: &str) {
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(document);
    let text = std::fs::read_to_string(&path).expect("cannot read the document");
    let (begin, end) =
        (format!("<!-- table generated from {source} -->\n"), format!("<!-- end of the table from {source} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the document has no comment before the table");
    let (found, after) = rest.split_once(&end).expect("the document has no comment after the table");
    if std::env::var_os("KILN_WRITE_DOCUMENTS").is_none() {
        assert!(
            found == table,
            "{document}: the table of {source} is outdated; set KILN_WRITE_DOCUMENTS=1 to update it"
        );
    } else if found != table {
        std::fs::write(&path, [before, &begin, table, &end, after].concat()).expect("cannot write the document");
    }
}

//! The real binary as a command, and what it says.

use std::process::{Command, Stdio};

/// The key that every test server is started with.
pub const KEY: &str = "kiln_test-key-of-the-end-to-end-tests";

pub fn kiln() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    // The tests know this model's classes, whatever else was built in.
    command
        .env_remove("PORT")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("KILN_API_KEY", KEY)
        .env("KILN_MODEL", "efficientnet-lite0")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end: its status, what it said and what it complained of.
pub fn said(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("it ends by itself"), text(&output.stdout), text(&output.stderr))
}

/// A key that `kiln keygen` made, and its entry for a key file.
pub struct Made {
    pub key: String,
    pub entry: String,
}

/// A file of keys.
pub fn key_file(entries: &[&Made]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    write_keys(&file, entries);
    file
}

/// These are a file's keys from now on.
pub fn write_keys(file: &tempfile::NamedTempFile, entries: &[&Made]) {
    let text: Vec<&str> = entries.iter().map(|made| made.entry.as_str()).collect();
    std::fs::write(file.path(), text.concat()).expect("the file can be written");
}

/// `kiln keygen --id ID` with more words.
pub fn keygen(id: &str, words: &[&str]) -> Made {
    let (status, entry, told) = said(kiln().args(["keygen", "--id", id]).args(words));
    assert_eq!(status, 0, "{told}");
    let key = told.split_whitespace().last().expect("the key is told").to_string();
    assert!(key.starts_with("kiln_"), "{told}");
    Made { key, entry }
}

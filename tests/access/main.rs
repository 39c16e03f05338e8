//! Who gets in, and how far: keys with scopes and limits, tokens of an identity provider, and the real server between them.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod keys;
mod limits;
mod metrics;
mod provider;
mod tokens;

use common::{Answer, Made, Server, bytes};

const CAT: &str = "photos/cat_640x480.jpg";

/// A file of keys.
fn file(entries: &[&Made]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&file, entries);
    file
}

fn write(file: &tempfile::NamedTempFile, entries: &[&Made]) {
    let text: Vec<&str> = entries.iter().map(|made| made.entry.as_str()).collect();
    std::fs::write(file.path(), text.concat()).unwrap();
}

/// A server with a key file and more flags, which has a key of its own too.
fn serve(file: &tempfile::NamedTempFile, flags: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--keys", file.path().to_str().unwrap()], flags].concat())
}

/// A photo is sent with some headers.
fn predict(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.post("/predict/raw", headers, &bytes(CAT))
}

fn with_key(server: &Server, key: &str) -> Answer {
    predict(server, &[("X-API-Key", key)])
}

fn get(server: &Server, path: &str, key: &str) -> Answer {
    server.get_with(path, &[("X-API-Key", key)])
}

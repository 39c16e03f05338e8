//! Who gets in, and how far: keys with scopes and limits, tokens of an identity provider, and the real server between them.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod keys;
mod limits;
mod metrics;
mod provider;
mod tokens;

use common::{Answer, Server, bytes};

const CAT: &str = "photos/cat_640x480.jpg";

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

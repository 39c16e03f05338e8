//! Authentication and rate limits: API keys with scopes and tokens of an identity provider.

mod identity_provider;
mod keys;
mod rate_limits;
mod tokens;

use crate::common::{Answer, Server, bytes};

const CAT: &str = "photos/cat_640x480.jpg";

/// Starts a server with a key file and more flags. The test key of the environment stays valid.
fn serve(file: &tempfile::NamedTempFile, flags: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--keys", file.path().to_str().unwrap()], flags].concat())
}

/// Sends a photo with these headers.
fn predict(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.post("/predict/raw", headers, &bytes(CAT))
}

fn with_key(server: &Server, key: &str) -> Answer {
    predict(server, &[("X-API-Key", key)])
}

fn get(server: &Server, path: &str, key: &str) -> Answer {
    server.get_with(path, &[("X-API-Key", key)])
}

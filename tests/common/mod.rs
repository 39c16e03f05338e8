//! What end-to-end tests share: the real binary on a free port, and a client for it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

mod answer;
mod form;
pub mod markdown;
pub mod memory;
pub mod metrics;
mod program;
mod server;
mod tools;
mod waiting;

use std::path::{Path, PathBuf};

pub use answer::{Answer, get, post, read};
pub use form::{form_body, gzip};
pub use program::{KEY, Made, key_file, keygen, kiln, said, write_keys};
pub use server::Server;
pub use tools::{certificate, has, has_vulkan, must_run, python, skip};
pub use waiting::{Stop, until};

pub fn data(file: &str) -> PathBuf {
    std::path::absolute(Path::new("tests/data").join(file)).expect("tests run in the project's folder")
}

pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

//! What end-to-end tests share: the real binary on a free port, and a client for it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

mod answer;
mod form;
pub mod memory;
pub mod metrics;
mod program;
mod server;
mod tools;
mod waiting;

use std::path::{Path, PathBuf};

pub use answer::{Answer, post, read};
pub use form::form_body;
pub use program::{KEY, Made, keygen, kiln, said};
pub use server::Server;
pub use tools::{has, has_vulkan, must_run, python};
pub use waiting::{Stop, until};

pub fn data(file: &str) -> PathBuf {
    std::path::absolute(Path::new("tests/data").join(file)).expect("tests run in the project's folder")
}

pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

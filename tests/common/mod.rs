//! Shared by the test binaries: the real server on a free port, an HTTP client, and helpers for waiting and skipping.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

mod command;
mod http;
pub mod markdown;
pub mod otlp_collector;
mod server;
mod tools;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use command::{
    GeneratedKey, KEY, key_file, keygen, kiln, output_text, peak_resident_bytes, resident_bytes, run_command,
    write_keys,
};
pub use http::{Answer, agent, form_body, get, gzip, post, read, sum_metric};
pub use server::Server;
pub use tools::{certificate, has, has_vulkan, is_ci, python, skip};

/// Returns the path of a file in `tests/data`.
pub fn data(file: &str) -> PathBuf {
    std::path::absolute(Path::new("tests/data").join(file)).expect("tests run in the project's folder")
}

/// Reads a file in `tests/data`.
pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Blocks until no other test of this binary holds the guard.
///
/// Tests of one binary run in parallel. A test takes this guard if it measures time or memory, or if it uses state of the
/// whole process (metrics, the log, the tracer). Dropped last, it must be the first variable of the test.
#[must_use = "the next test starts when the guard is dropped"]
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // The lock protects no data, so a test that panicked has left nothing inconsistent.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polls until `holds` returns true, and returns the elapsed time. After `timeout` it panics with the text of `describe`.
#[track_caller]
pub fn until(what: &str, timeout: Duration, holds: impl Fn() -> bool, describe: impl Fn() -> String) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < timeout, "timed out waiting for {what}: {}", describe());
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// Sets a flag that stops client threads when it is dropped, also if the test panics: the scope joins those threads.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

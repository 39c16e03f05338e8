//! What end-to-end tests share: the real binary on a free port, and a client for it.
#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

mod answer;
mod form;
pub mod metrics;
mod program;
mod server;
mod waiting;

use std::path::{Path, PathBuf};

pub use answer::{Answer, read};
pub use form::form_body;
pub use program::{KEY, kiln, said};
pub use server::Server;
pub use waiting::{Stop, until};

/// The most that a process has had in memory, in MB, where the system tells.
pub fn most_memory(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kibibytes| kibibytes * 1024 / 1_000_000)
}

/// Whether there is a Vulkan adapter. A test without one is skipped, which is said, or fails where it must run.
pub fn has_vulkan() -> bool {
    use kiln::inference::adapters::{self, Api};
    let found = adapters::enumerate().iter().any(|adapter| adapter.api == Api::Vulkan);
    if !found {
        assert!(!must_run(), "no Vulkan adapter: install one, mesa-vulkan-drivers for instance");
        eprintln!("SKIPPED: this machine has no Vulkan adapter (mesa-vulkan-drivers provides one in software)");
    }
    found
}

pub fn data(file: &str) -> PathBuf {
    std::path::absolute(Path::new("tests/data").join(file)).expect("tests run in the project's folder")
}

pub fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(data(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// True where the tests must not be skipped for want of a program or a driver.
pub fn must_run() -> bool {
    std::env::var_os("CI").is_some()
}

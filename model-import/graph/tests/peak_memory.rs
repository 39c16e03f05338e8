//! The memory that reading a file takes. The test has a process of its own, because it measures the process.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "this test uses some of the functions")]
mod hostile_files_writer;

use hostile_files_writer::{model, node};
use kiln_graph::{Classifier, ReadOptions};

/// The largest resident set of this process so far, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn mask_of_a_triangle_takes_the_memory_of_floats() {
    let nodes = [node("Trilu", &["x"], &["triangle"], &[]), node("GlobalAveragePool", &["triangle"], &["y"], &[])];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, model(&["N", "1", "4096", "4096"], &nodes, &[])).unwrap();
    let before = peak();
    Classifier::open(&path, &ReadOptions::default()).unwrap();
    // 16 million floats take 64 MiB, and as many integers of the reader 256 MiB.
    let taken = peak() - before;
    assert!(taken < 200, "{taken} MiB");
}

//! The second start finds what the first one compiled and measured, and no request pays for first use.
#![forbid(unsafe_code)]

mod common;

use std::time::{Duration, Instant};

use common::{Server, bytes};

/// Until the server is ready, and then a few requests.
fn start(cache: &str) -> (Duration, Vec<Duration>) {
    let started = Instant::now();
    let server = Server::start(&["--device", "vulkan", "--max-batch-size", "2", "--cache-dir", cache]);
    let ready = started.elapsed();
    let photo = bytes("photos/cat_640x480.jpg");
    let request = || {
        let started = Instant::now();
        assert_eq!(server.raw("/predict/raw", &photo).status, 200);
        started.elapsed()
    };
    (ready, (0..12).map(|_| request()).collect())
}

#[test]
fn the_second_start_is_three_times_as_quick_and_the_first_request_like_any_other() {
    if !common::has_vulkan() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let (first, _) = start(cache);
    let kept = std::fs::read_to_string(folder.path().join("kernels.txt")).unwrap();
    assert!(kept.starts_with("fused\t") || kept.starts_with("stock\t"), "{kept}");
    // The machine may be busy with something else just when the first request comes.
    let second = (0..3).map(|_| start(cache)).find(|(second, requests)| {
        let mut sorted = requests.clone();
        sorted.sort();
        let median = sorted[sorted.len() / 2];
        println!("ready after {first:?}, then {second:?}; first request {:?}, median {median:?}", requests[0]);
        *second * 3 <= first && requests[0].as_secs_f64() <= median.as_secs_f64() * 1.5
    });
    assert!(second.is_some(), "each of three starts was slow, or its first request");
}

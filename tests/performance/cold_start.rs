//! A second start uses the kernel selection and shaders of the first one, and the first request is as fast as later ones.

use std::time::{Duration, Instant};

use crate::common::{Server, alone, bytes, has_vulkan};

/// Starts a server and sends a few requests. Returns the time until it is ready and the time of each request.
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
fn second_start_is_three_times_as_fast_and_its_first_request_has_usual_latency() {
    let _alone = alone();
    if !has_vulkan() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().to_str().unwrap();
    let (first, _) = start(cache);
    let cached = std::fs::read_to_string(folder.path().join("kernels.txt")).unwrap();
    assert!(cached.starts_with("fused\t") || cached.starts_with("stock\t"), "{cached}");
    // Another program may use the processor during one attempt.
    let second = (0..3).map(|_| start(cache)).find(|(second, requests)| {
        let mut sorted = requests.clone();
        sorted.sort();
        let median = sorted[sorted.len() / 2];
        println!("ready after {first:?}, then {second:?}; first request {:?}, median {median:?}", requests[0]);
        *second * 3 <= first && requests[0].as_secs_f64() <= median.as_secs_f64() * 1.5
    });
    assert!(second.is_some(), "in each of three attempts, the start or the first request was slow");
}

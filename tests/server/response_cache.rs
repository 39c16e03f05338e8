//! The response cache over a real socket: a repeated image is answered from memory, with a prediction id of its own.

use std::collections::HashSet;

use crate::common::{Answer, KEY, Server, bytes};

const CAT: &str = "photos/cat_640x480.jpg";
const COFFEE: &str = "photos/coffee_640x480.jpg";
const FLOWER: &str = "photos/flower_640x480.jpg";

const HIT: Option<&str> = Some("kiln; hit");
const STORED: Option<&str> = Some("kiln; fwd=miss; stored");
const ONE_HIT_ONE_MISS: Option<&str> = Some("kiln; fwd=partial; detail=\"hit=1 miss=1\"");

fn caching_server() -> Server {
    Server::start(&["--device", "cpu", "--cache-bytes", "1MiB"])
}

fn cache_status(answer: &Answer) -> Option<&str> {
    answer.header("Cache-Status")
}

/// Asserts the cache lookups by outcome, in the order hit, miss, coalesced, bypassed, and the images that the model ran.
#[track_caller]
fn assert_counts(server: &Server, lookups: [f64; 4], inferences: f64) {
    let count = |outcome: &str| server.metric("kiln_cache_requests_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!(["hit", "miss", "coalesced", "bypassed"].map(count), lookups, "hit, miss, coalesced, bypassed");
    assert_eq!(server.metric("nv_inference_count", &[]), inferences, "images that were run");
}

#[test]
fn repeated_image_is_answered_without_inference() {
    let server = caching_server();
    let first = server.predict("/predict", "cat.jpg", &bytes(CAT));
    assert_eq!(cache_status(&first), STORED);
    let second = server.raw("/predict/raw", &bytes(CAT));
    assert_eq!(cache_status(&second), HIT);
    let (first, second) = (first.json(), second.json());
    assert_eq!((&first["predictions"], &first["image"]), (&second["predictions"], &second["image"]));
    assert_ne!(first["prediction_id"], second["prediction_id"]);
    for phase in ["decode_wait", "decode", "preprocess", "queue", "batch_wait", "device"] {
        assert_eq!(second["timings_ms"][phase], 0.0, "{phase}");
    }
    assert!(second["timings_ms"]["total"].as_f64() > Some(0.0));
    assert_counts(&server, [1.0, 1.0, 0.0, 0.0], 1.0);
}

#[test]
fn other_top_k_other_image_and_no_store_are_misses() {
    let server = caching_server();
    assert_eq!(cache_status(&server.raw("/predict/raw", &bytes(CAT))), STORED);
    assert_eq!(cache_status(&server.raw("/predict/raw?top_k=3", &bytes(CAT))), STORED, "another number of classes");
    assert_eq!(cache_status(&server.raw("/predict/raw", &bytes(COFFEE))), STORED, "another image");
    let headers = [("X-API-Key", KEY), ("Cache-Control", "no-store")];
    let bypassed = server.post("/predict/raw", &headers, &bytes(CAT));
    assert_eq!(cache_status(&bypassed), Some("kiln; fwd=request"));
    assert!(bypassed.json()["timings_ms"]["device"].as_f64() > Some(0.0));
    assert_counts(&server, [0.0, 3.0, 0.0, 1.0], 4.0);
}

#[test]
fn rejected_images_are_not_cached_and_names_are_checked_before_the_lookup() {
    let server = caching_server();
    assert_eq!(cache_status(&server.raw("/predict/raw", &bytes(COFFEE))), STORED);
    for _ in 0..2 {
        // The second file has cached bytes and an extension that is not accepted.
        let statuses = (
            server.raw("/predict/raw", b"none").status,
            server.predict("/predict", "coffee.txt", &bytes(COFFEE)).status,
        );
        assert_eq!(statuses, (415, 415));
    }
    assert_counts(&server, [0.0, 3.0, 0.0, 0.0], 1.0);
}

#[test]
fn each_image_of_a_batch_is_looked_up_unless_its_name_is_rejected() {
    let server = caching_server();
    assert_eq!(cache_status(&server.raw("/predict/raw", &bytes(CAT))), STORED);
    let files = [("files", "a.jpg", &bytes(CAT)[..]), ("files", "b.jpg", &bytes(FLOWER))];
    assert_eq!(cache_status(&server.form("/predict/batch", &files)), ONE_HIT_ONE_MISS);
    assert_counts(&server, [1.0, 2.0, 0.0, 0.0], 2.0);
    // The invalid image is looked up too; the file with the rejected extension is not.
    let files = [("files", "a.jpg", &bytes(CAT)[..]), ("files", "a.exe", b"none"), ("files", "b.jpg", b"none")];
    assert_eq!(cache_status(&server.form("/predict/batch", &files)), ONE_HIT_ONE_MISS);
    assert_counts(&server, [2.0, 3.0, 0.0, 0.0], 2.0);
}

#[test]
fn concurrent_identical_requests_run_once() {
    let server = caching_server();
    let image = bytes(CAT);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let requests: Vec<_> = (0..16).map(|_| scope.spawn(|| server.raw("/predict/raw", &image))).collect();
        requests.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    let ids: HashSet<String> = answers.iter().map(|answer| answer.json()["prediction_id"].to_string()).collect();
    assert_eq!(ids.len(), 16);
    let own = answers.iter().filter(|answer| cache_status(answer) == STORED);
    assert_eq!((own.count(), server.metric("nv_inference_count", &[])), (1, 1.0));
    assert_eq!(server.metric("kiln_cache_requests_total", &[]), 16.0);
}

#[test]
fn cache_is_off_by_default() {
    let server = Server::start(&["--device", "cpu"]);
    for _ in 0..2 {
        let answer = server.raw("/predict/raw", &bytes(CAT));
        assert_eq!((answer.status, cache_status(&answer)), (200, None));
    }
    assert_eq!(server.metric("nv_inference_count", &[]), 2.0);
}

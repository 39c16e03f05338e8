//! Kept answers, over a real socket: the same picture asked again costs nothing, and is still an answer of its own.
#![forbid(unsafe_code)]

mod common;

use std::collections::HashSet;

use common::{Answer, KEY, Server, bytes};

const CAT: &str = "photos/cat_640x480.jpg";

fn keeping() -> Server {
    Server::start(&["--device", "cpu", "--cache-bytes", "1MiB"])
}

fn status(answer: &Answer) -> Option<&str> {
    answer.header("Cache-Status")
}

fn with_cache_control(server: &Server, value: &str) -> Answer {
    server.post("/predict/raw", &[("X-API-Key", KEY), ("Cache-Control", value)], &bytes(CAT))
}

#[test]
fn a_picture_that_is_asked_again_is_answered_without_work() {
    let server = keeping();
    let first = server.predict("/predict", "cat.jpg", &bytes(CAT));
    assert_eq!(status(&first), Some("kiln; fwd=miss; stored"));
    let again = server.raw("/predict/raw", &bytes(CAT));
    assert_eq!(status(&again), Some("kiln; hit"));
    let (first, again) = (first.json(), again.json());
    assert_eq!((&first["predictions"], &first["image"]), (&again["predictions"], &again["image"]));
    assert_ne!(first["prediction_id"], again["prediction_id"]);
    for phase in ["decode_wait", "decode", "preprocess", "queue", "batch_wait", "device"] {
        assert_eq!(again["timings_ms"][phase], 0.0, "{phase}");
    }
    assert!(again["timings_ms"]["total"].as_f64() > Some(0.0));
    // Another number of classes, another picture, and another's wish for an answer of its own.
    assert_eq!(status(&server.raw("/predict/raw?top_k=3", &bytes(CAT))), Some("kiln; fwd=miss; stored"));
    let other = bytes("photos/coffee_640x480.jpg");
    assert_eq!(status(&server.raw("/predict/raw", &other)), Some("kiln; fwd=miss; stored"));
    let fresh = with_cache_control(&server, "no-store");
    assert_eq!(status(&fresh), Some("kiln; fwd=request"));
    assert!(fresh.json()["timings_ms"]["device"].as_f64() > Some(0.0));
    // A picture that is none is never kept, and its name is looked at also where its bytes are known.
    for _ in 0..2 {
        assert_eq!(
            (server.raw("/predict/raw", b"none").status, server.predict("/predict", "cat.txt", &other).status),
            (415, 415)
        );
    }
    let files = [("files", "a.jpg", &bytes(CAT)[..]), ("files", "b.jpg", &bytes("photos/flower_640x480.jpg"))];
    let batch = server.form("/predict/batch", &files);
    assert_eq!(status(&batch), Some("kiln; fwd=partial; detail=\"hit=1 miss=1\""));
    // What has no answer was looked for too, unless its name was refused before.
    let files = [("files", "a.jpg", &bytes(CAT)[..]), ("files", "a.exe", b"none"), ("files", "b.jpg", b"none")];
    let batch = server.form("/predict/batch", &files);
    assert_eq!(status(&batch), Some("kiln; fwd=partial; detail=\"hit=1 miss=1\""));
    let outcome = |word: &str| server.metric("kiln_cache_requests_total", &[&format!("outcome=\"{word}\"")]);
    assert_eq!(["hit", "miss", "coalesced", "bypassed"].map(outcome), [3.0, 7.0, 0.0, 1.0]);
    assert_eq!(server.metric("nv_inference_count", &[]), 5.0, "pictures that were run");
}

#[test]
fn who_ask_the_same_at_once_share_one_run() {
    let server = keeping();
    let picture = bytes(CAT);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..16).map(|_| scope.spawn(|| server.raw("/predict/raw", &picture))).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 200));
    let ids: HashSet<String> = answers.iter().map(|answer| answer.json()["prediction_id"].to_string()).collect();
    assert_eq!(ids.len(), 16);
    let own = answers.iter().filter(|answer| status(answer) == Some("kiln; fwd=miss; stored"));
    assert_eq!((own.count(), server.metric("nv_inference_count", &[])), (1, 1.0));
    assert_eq!(server.metric("kiln_cache_requests_total", &[]), 16.0);
}

#[test]
fn nothing_is_kept_unless_asked_for() {
    let server = Server::start(&["--device", "cpu"]);
    for _ in 0..2 {
        let answer = server.raw("/predict/raw", &bytes(CAT));
        assert_eq!((answer.status, status(&answer)), (200, None));
    }
    assert_eq!(server.metric("nv_inference_count", &[]), 2.0);
}

//! Mixed load: clients of every kind send requests until they are stopped.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;

use serde_json::json;

use crate::common::{Answer, KEY, Server, bytes, form_body};

const CAT: &str = "photos/cat_451x300.jpg";

/// Returns the photo with a unique suffix, so that it is not in the response cache. Decoders ignore bytes after the end.
fn photo() -> Vec<u8> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    [bytes(CAT), SENT.fetch_add(1, Ordering::Relaxed).to_le_bytes().to_vec()].concat()
}

/// One round of requests of a client, with the key of an application and the key with a low rate limit.
type Kind = fn(&Server, [&str; 2]);

/// Asserts that the status is one of those that the client expects.
fn expect(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status), "{} instead of {statuses:?}: {}", answer.status, answer.text());
}

/// Sends images until one is classified. Returns whether the starting server rejected one before with 503.
pub fn wait_until_ready(server: &Server) -> bool {
    let mut rejected = false;
    while server.raw("/predict/raw", &bytes(CAT)).status == 503 {
        rejected = true;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    rejected
}

/// Sends one image after another.
pub fn steady<'a>(scope: &'a Scope<'a, '_>, server: &'a Server, stop: &'a AtomicBool) {
    scope.spawn(move || {
        let photo = bytes(CAT);
        while !stop.load(Ordering::Relaxed) {
            expect(&server.raw("/predict/raw", &photo), &[200]);
        }
    });
}

/// Runs every kind of client.
pub fn mixed<'a>(scope: &'a Scope<'a, '_>, server: &'a Server, keys: [&'a str; 2], stop: &'a AtomicBool) {
    let kinds: [(Kind, usize); 6] =
        [(images, 2), (invalid_requests, 1), (unauthorized, 1), (burst, 1), (repeated, 1), (feedback, 1)];
    for (kind, clients) in kinds {
        for _ in 0..clients {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    kind(server, keys);
                }
            });
        }
    }
}

/// Sends an image in every way. A full queue may reject it.
fn images(server: &Server, [app, _]: [&str; 2]) {
    let photo = photo();
    expect(&server.post("/predict/raw", &[("X-API-Key", app)], &photo), &[200, 429]);
    let (content_type, body) = form_body(&[("file", "cat.jpg", &photo)]);
    expect(&server.post("/predict", &[("X-API-Key", app), ("Content-Type", content_type)], &body), &[200, 429]);
    let files: [(&str, &str, &[u8]); 2] = [("files", "cat.jpg", &photo), ("files", "broken.jpg", &photo[..99])];
    expect(&server.form("/predict/batch", &files), &[200, 429]);
    let inputs = json!([{"name": "input", "shape": [1], "datatype": "BYTES",
        "parameters": {"binary_data_size": photo.len() + 4}}]);
    let head = json!({ "inputs": inputs }).to_string();
    let body = [head.as_bytes(), &(photo.len() as u32).to_le_bytes(), &photo].concat();
    let length = head.len().to_string();
    let headers = [("X-API-Key", KEY), ("Inference-Header-Content-Length", &length)];
    expect(&server.post("/v2/models/efficientnet-lite0/infer", &headers, &body), &[200, 429]);
    expect(&server.get("/models"), &[200]);
}

/// Sends invalid requests with a valid key.
fn invalid_requests(server: &Server, [_, slow]: [&str; 2]) {
    let photo = photo();
    expect(&server.raw("/predict/raw", &photo[..99]), &[422, 429]);
    expect(&server.raw("/predict/raw", b"words"), &[415, 429]);
    expect(&server.raw("/predict/raw?model=nobody", &photo), &[404]);
    expect(&server.get("/nowhere"), &[404]);
    // The timeout is too short unless the server is idle at this moment.
    let short_timeout = [("X-API-Key", KEY), ("X-Request-Timeout-Ms", "1")];
    expect(&server.post("/predict/raw", &short_timeout, &photo), &[200, 429, 504]);
    // This key may send two requests per second.
    expect(&server.post("/predict/raw", &[("X-API-Key", slow)], &photo), &[200, 429]);
}

/// Sends requests without a valid key, and one whose client disconnects at once.
fn unauthorized(server: &Server, _: [&str; 2]) {
    let photo = photo();
    expect(&server.post("/predict/raw", &[], &photo), &[401]);
    expect(&server.post("/predict/raw", &[("X-API-Key", "kiln_a-key-that-is-wrong")], &photo), &[401, 429]);
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let length = photo.len();
    let head =
        format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &photo].concat()).unwrap();
}

/// Sends more images at once than the queue holds.
fn burst(server: &Server, [app, _]: [&str; 2]) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| expect(&server.post("/predict/raw", &[("X-API-Key", app)], &photo()), &[200, 429]));
        }
    });
}

/// Sends the same image each time, once with the cache and once without.
fn repeated(server: &Server, [app, _]: [&str; 2]) {
    let photo = bytes(CAT);
    expect(&server.post("/predict/raw", &[("X-API-Key", app)], &photo), &[200, 429]);
    expect(&server.post("/predict/raw", &[("X-API-Key", app), ("Cache-Control", "no-store")], &photo), &[200, 429]);
}

/// Sends feedback of each kind: right, wrong, and a true class.
fn feedback(server: &Server, _: [&str; 2]) {
    let photo = photo();
    for feedback in [json!({"verdict": "right"}), json!({"verdict": "wrong"}), json!({"class_id": 281})] {
        let answer = server.raw("/predict/raw", &photo);
        expect(&answer, &[200, 429]);
        if answer.status == 200 {
            let mut feedback = feedback;
            feedback["prediction_id"] = answer.json()["prediction_id"].clone();
            expect(&server.raw("/feedback", feedback.to_string().as_bytes()), &[200]);
        }
    }
}

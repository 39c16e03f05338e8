//! What happens to a server in a day, at once: clients of every kind, until they are told to stop.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;

use serde_json::json;

use crate::common::{Answer, KEY, Server, bytes, form_body};

const CAT: &str = "photos/cat_451x300.jpg";

/// The photo as nobody has sent it before, so that its answer is not there already: who decodes does not look behind its end.
fn photo() -> Vec<u8> {
    static SENT: AtomicU64 = AtomicU64::new(0);
    [bytes(CAT), SENT.fetch_add(1, Ordering::Relaxed).to_le_bytes().to_vec()].concat()
}

/// What a client does once, with an application's key and that of another.
type Kind = fn(&Server, [&str; 2]);

/// Statuses that each kind of client has seen must be among those that it is there for.
fn expect(answer: &Answer, statuses: &[u16]) {
    assert!(statuses.contains(&answer.status), "{} instead of {statuses:?}: {}", answer.status, answer.text());
}

/// Asks until the first picture is classified, and tells whether one was refused before: a server that is starting says so.
pub fn wait(server: &Server) -> bool {
    let mut refused = false;
    while server.raw("/predict/raw", &bytes(CAT)).status == 503 {
        refused = true;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    refused
}

/// One picture after another.
pub fn steady<'a>(scope: &'a Scope<'a, '_>, server: &'a Server, stop: &'a AtomicBool) {
    scope.spawn(move || {
        let photo = bytes(CAT);
        while !stop.load(Ordering::Relaxed) {
            expect(&server.raw("/predict/raw", &photo), &[200]);
        }
    });
}

/// Every kind of client, those of an application with a key of its own among them, and one of another with few requests.
pub fn mixed<'a>(scope: &'a Scope<'a, '_>, server: &'a Server, keys: [&'a str; 2], stop: &'a AtomicBool) {
    let kinds: [(Kind, usize); 6] = [(pictures, 2), (mistakes, 1), (strangers, 1), (crowd, 1), (again, 1), (judges, 1)];
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

/// Each way to send a picture; a server that is full at the moment may say so.
fn pictures(server: &Server, [app, _]: [&str; 2]) {
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

/// Requests of those who may ask, but not so.
fn mistakes(server: &Server, [_, slow]: [&str; 2]) {
    let photo = photo();
    expect(&server.raw("/predict/raw", &photo[..99]), &[422, 429]);
    expect(&server.raw("/predict/raw", b"words"), &[415, 429]);
    expect(&server.raw("/predict/raw?model=nobody", &photo), &[404]);
    expect(&server.get("/nowhere"), &[404]);
    // It will be too late: told at once, or found to be so in the queue; but for a moment in which nobody else is there.
    let hurried = [("X-API-Key", KEY), ("X-Request-Timeout-Ms", "1")];
    expect(&server.post("/predict/raw", &hurried, &photo), &[200, 429]);
    // Two a second are allowed.
    expect(&server.post("/predict/raw", &[("X-API-Key", slow)], &photo), &[200, 429]);
}

/// Requests of those who may not, and of one who does not wait for the answer.
fn strangers(server: &Server, _: [&str; 2]) {
    let photo = photo();
    expect(&server.post("/predict/raw", &[], &photo), &[401]);
    expect(&server.post("/predict/raw", &[("X-API-Key", "kiln_a-key-that-is-wrong")], &photo), &[401, 429]);
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let length = photo.len();
    let head =
        format!("POST /predict/raw HTTP/1.1\r\nHost: kiln\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &photo].concat()).unwrap();
}

/// More pictures at once than the queue has places.
fn crowd(server: &Server, [app, _]: [&str; 2]) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| expect(&server.post("/predict/raw", &[("X-API-Key", app)], &photo()), &[200, 429]));
        }
    });
}

/// The same picture, once as everybody else and once for an answer of its own.
fn again(server: &Server, [app, _]: [&str; 2]) {
    let photo = bytes(CAT);
    expect(&server.post("/predict/raw", &[("X-API-Key", app)], &photo), &[200, 429]);
    expect(&server.post("/predict/raw", &[("X-API-Key", app), ("Cache-Control", "no-store")], &photo), &[200, 429]);
}

/// People who say what pictures show: now that the answer was right, now that it was not, now what is true.
fn judges(server: &Server, _: [&str; 2]) {
    let photo = photo();
    for said in [json!({"verdict": "right"}), json!({"verdict": "wrong"}), json!({"class_id": 281})] {
        let answer = server.raw("/predict/raw", &photo);
        expect(&answer, &[200, 429]);
        if answer.status == 200 {
            let mut feedback = said;
            feedback["prediction_id"] = answer.json()["prediction_id"].clone();
            expect(&server.raw("/feedback", feedback.to_string().as_bytes()), &[200]);
        }
    }
}

//! Acknowledged feedback survives SIGKILL.

use std::collections::BTreeMap;
use std::sync::mpsc;

use serde_json::{Value, json};

use super::{CAT, export_feedback, serve};
use crate::common::{KEY, agent, bytes};

const CLIENTS: u64 = 6;
/// Pieces of acknowledged feedback after which the server is killed, while more are in flight.
const ENOUGH: usize = 60;

/// Predicts and sends feedback until the server is gone. Reports each acknowledged piece at once.
fn client(url: &str, class_id: u64, acknowledged: &mpsc::Sender<(String, u64)>) {
    let (agent, photo) = (agent(), bytes(CAT));
    let post = |path: &str, body: &[u8]| -> Option<Value> {
        let mut answer = agent.post(format!("{url}{path}")).header("X-API-Key", KEY).send(body).ok()?;
        let body = answer.body_mut().read_to_vec().ok()?;
        (answer.status() == 200).then(|| serde_json::from_slice(&body).ok())?
    };
    let mut next = class_id;
    while let Some(prediction) = post("/predict/raw", &photo) {
        let id = prediction["prediction_id"].as_str().unwrap().to_string();
        // The class differs each time, so that each piece of feedback is recognizable.
        next = (next + CLIENTS) % 1000;
        let body = json!({"prediction_id": id, "class_id": next}).to_string();
        if post("/feedback", body.as_bytes()).is_none() || acknowledged.send((id, next)).is_err() {
            return;
        }
    }
}

#[test]
fn acknowledged_feedback_survives_a_kill() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = serve(data.path(), &["--queue-capacity", "64"]);
    let (sender, acknowledged) = mpsc::channel();
    let seen: Vec<(String, u64)> = std::thread::scope(|scope| {
        for class_id in 0..CLIENTS {
            let (url, sender) = (&server.url, sender.clone());
            scope.spawn(move || client(url, class_id, &sender));
        }
        drop(sender);
        let mut seen: Vec<_> = acknowledged.iter().take(ENOUGH).collect();
        server.signal("KILL");
        // Feedback that was acknowledged before the kill took effect.
        seen.extend(acknowledged.iter());
        seen
    });
    assert!(seen.len() >= ENOUGH, "the server exited early: {}", seen.len());
    drop(server);
    let check = |what: &str| {
        let out = out.path().join(what);
        let (lines, _) = export_feedback(data.path(), &out);
        let found: BTreeMap<&str, u64> = lines
            .iter()
            .map(|line| (line["prediction_id"].as_str().unwrap(), line["true_id"].as_u64().unwrap()))
            .collect();
        for (id, class_id) in &seen {
            assert_eq!(found.get(id.as_str()), Some(class_id), "{what}: {id} was acknowledged and is lost");
        }
        lines.len()
    };
    let before = check("before the next start");
    let server = serve(data.path(), &[]);
    assert_eq!(check("after it"), before);
    let total = server.get("/feedback/summary").json()["total"].as_u64().unwrap();
    assert_eq!(total, before as u64);
    println!("{} pieces of feedback were acknowledged, {before} are stored", seen.len());
}

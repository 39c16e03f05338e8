//! Background tasks that fail: one that the server can run without, and one that it needs.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::common;
use crate::staged_engine::{Settings, Staged};

async fn panic_with(message: &'static str) {
    panic!("{message}")
}

/// Waits until `holds` returns true.
#[track_caller]
fn until(holds: impl Fn() -> bool) {
    common::until("a state of the server", Duration::from_secs(60), holds, String::new);
}

#[test]
fn failed_task_appears_in_the_readiness_and_a_required_task_stops_the_server() {
    let server = Staged::ready(Settings::default());
    assert_eq!(server.get("/health/ready").json()["failed_tasks"], json!([]));
    let _restarting = server.supervise(|supervisor| {
        supervisor.spawn_restarting("key reloading", || async {
            panic_with("0xdead in the key file").await;
            Ok(())
        });
    });
    let failed = || server.get("/health/ready").json()["failed_tasks"] != json!([]);
    until(failed);
    let ready = server.get("/health/ready");
    assert_eq!((ready.status, ready.json()["state"].as_str()), (200, Some("ready")), "{}", ready.text());
    assert_eq!(ready.json()["failed_tasks"], json!([{"name": "key reloading", "reason": "panicked"}]));
    let _required = server.supervise(|supervisor| supervisor.spawn_required("signal handler", panic_with("no pipe")));
    // An orchestrator restarts the process.
    until(|| TcpStream::connect(server.address()).is_err());
}

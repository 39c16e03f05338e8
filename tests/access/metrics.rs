//! Metrics on a listener of their own.

use crate::common::{self, key_file, keygen, kiln, said};
use crate::{get, serve};

#[test]
fn metrics_on_their_own_listener_are_nowhere_else() {
    let app = keygen("app", &[]);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let server = serve(&key_file(&[&app]), &["--metrics-listen", &address]);
    assert_eq!(get(&server, "/metrics", &app.key).code(), "not_found");
    assert!(server.get_without_key("/openapi.json").json()["paths"]["/metrics"].is_null());
    let at = |path: &str| common::get(&format!("http://{address}{path}"), &[]);
    let metrics = at("/metrics");
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("kiln_ready 1"), "{}", metrics.text());
    assert_eq!(at("/models").status, 404, "nothing else is there");
}

#[test]
fn both_ways_at_once_are_refused() {
    let flags = ["config", "check", "--metrics-auth", "--metrics-listen", "127.0.0.1:9"];
    let (status, _, complaint) = said(kiln().args(flags));
    assert!(status == 2 && complaint.contains("take out that or metrics-auth"), "{complaint}");
}

//! Metrics on a separate listener.

use super::{get, serve};
use crate::common::{self, key_file, keygen, kiln, run_command};

#[test]
fn metrics_listener_serves_only_metrics_and_the_main_one_none() {
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
    assert_eq!(at("/models").status, 404, "the metrics listener serves another path");
}

#[test]
fn metrics_listener_and_metrics_authentication_exclude_each_other() {
    let flags = ["config", "check", "--metrics-auth", "--metrics-listen", "127.0.0.1:9"];
    let (status, _, stderr) = run_command(kiln().args(flags));
    assert!(status == 2 && stderr.contains("take out that or metrics-auth"), "{stderr}");
}

//! TLS over a real socket, with curl as the client and certificates made by openssl.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{KEY, Server, agent, bytes, certificate, data, has, kiln, run_command};

/// Returns whether curl and openssl are installed.
fn can_run() -> bool {
    ["curl", "openssl"].into_iter().all(has)
}

fn start(folder: &Path, more: &[&str]) -> (Server, String) {
    let [certificate, key] = ["server.crt", "server.key"].map(|file| folder.join(file).display().to_string());
    let server =
        Server::start_unready(&[&["--device", "cpu", "--tls-cert", &certificate, "--tls-key", &key], more].concat());
    let address = server.url.strip_prefix("http://").unwrap().to_string();
    (server, address)
}

/// Returns the status and the HTTP version, or `None` if curl does not trust the certificate.
fn curl(address: &str, trusted: &Path, path: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--max-time", "60", "--cacert"])
        .arg(trusted)
        .args(arguments)
        .arg(format!("https://{address}{path}"))
        .output()
        .expect("curl runs");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn requests_are_served_over_tls_and_a_renewed_certificate_is_loaded() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "server");
    certificate(folder.path(), "next");
    let trusted = folder.path().join("trusted.crt");
    std::fs::copy(folder.path().join("server.crt"), &trusted).unwrap();
    let (server, address) = start(folder.path(), &[]);
    assert_eq!(curl(&address, &trusted, "/health/live", &[]).as_deref(), Some("200 2"));
    assert_eq!(curl(&address, &trusted, "/health/live", &["--http1.1"]).as_deref(), Some("200 1.1"));
    server.logged_until("\"ready\"");
    // More than one TLS record in either direction.
    let photo = format!("@{}", data("photos/cat_640x480.jpg").display());
    assert!(bytes("photos/cat_640x480.jpg").len() > 1 << 15);
    let key = format!("X-API-Key: {}", KEY);
    let predict = curl(&address, &trusted, "/predict/raw?top_k=100", &["--data-binary", &photo, "-H", &key]);
    assert_eq!(predict.as_deref(), Some("200 2"));

    let next = folder.path().join("next.crt");
    assert_eq!(curl(&address, &next, "/health/live", &[]), None, "curl trusted the wrong certificate");
    for end in ["crt", "key"] {
        std::fs::copy(folder.path().join(format!("next.{end}")), folder.path().join(format!("server.{end}"))).unwrap();
    }
    server.logged_until("reloaded the TLS certificate");
    assert_eq!(curl(&address, &next, "/health/live", &[]).as_deref(), Some("200 2"));
}

#[test]
fn connection_without_a_handshake_is_closed() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "server");
    let (_server, address) = start(folder.path(), &["--header-timeout", "500ms"]);
    let mut silent = TcpStream::connect(&address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(silent.read(&mut [0; 64]).unwrap(), 0, "a silent client received data");
    // Plain HTTP is not a handshake: the server sends an alert and closes.
    let plain = agent().get(format!("http://{address}/health/live")).call();
    assert!(plain.is_err(), "plain HTTP was answered");
}

#[test]
fn unusable_certificates_and_keys_are_configuration_errors() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "server");
    certificate(folder.path(), "other");
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (arguments, part) in [
        (vec!["--tls-cert".to_string(), file("server.crt")], "needs tls-key"),
        (vec!["--tls-key".to_string(), file("server.key")], "needs tls-cert"),
        (["--tls-cert", &file("none.crt"), "--tls-key", &file("server.key")].map(String::from).into(), "none.crt"),
        (
            ["--tls-cert", &file("server.key"), "--tls-key", &file("server.key")].map(String::from).into(),
            "no certificate",
        ),
        (["--tls-cert", &file("server.crt"), "--tls-key", &file("server.crt")].map(String::from).into(), "private key"),
        (
            ["--tls-cert", &file("server.crt"), "--tls-key", &file("other.key")].map(String::from).into(),
            "cannot be used",
        ),
    ] {
        let (status, _, stderr) = run_command(kiln().arg("serve").args(&arguments));
        assert!(status == 2 && stderr.contains(part), "{arguments:?}: {status} {stderr}");
    }
}

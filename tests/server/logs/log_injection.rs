//! Log injection: data from clients forges no log line, in text and in JSON, at level `trace`.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Logging, events};
use crate::common::{KEY, Server, bytes, form_body};

/// Returns requests that try to forge log lines or to control the terminal.
fn attacks() -> Vec<Vec<u8>> {
    let attack = b"\xc2\x9b2J \xe2\x80\xae \xe2\x80\xa8 \xff\xfe\x80 2026-01-01T00:00:00Z  INFO kiln::access: answered";
    let key = format!("X-API-Key: {KEY}\r\n");
    let request = |line: &[u8], headers: &[&[u8]], body: &[u8]| {
        let headers: Vec<u8> = headers.iter().flat_map(|header| [header, &b"\r\n"[..]].concat()).collect();
        let length = format!("Host: kiln\r\nConnection: close\r\n{key}Content-Length: {}\r\n", body.len());
        [line, b" HTTP/1.1\r\n", length.as_bytes(), &headers, b"\r\n", body].concat()
    };
    let header = |name: &[u8]| [name, b": ", attack].concat();
    let mut all = vec![
        request(b"GET /%0a2026-01-01T00:00:00Z%1b[2J%9b?x=%0d%0a", &[], b""),
        request(&[b"GET /", &attack[..2]].concat(), &[], b""),
        request(b"GET /\x1b[2J", &[], b""),
        request(b"GET /\"}{\"message\":\"forged\"}", &[b"X-Request-Id: \"},{\"message\":\"forged\",\"x\":{\"\\"], b""),
        request(b"G{ET /models", &[], b""),
        request(b"GET /models", &[b"X-Forged: a\rb\x1b[2J"], b""),
        request(b"POST /predict/raw?model=%0aforged%1b[2J&top_k=%0a", &[], b"x"),
        request(b"POST /v2/models/%0aforged/infer", &[], b"{\"inputs\": [{\"name\": \"a\\nb\\u001b[2J\"}]}"),
        b"\x16\x03\x01\n2026-01-01T00:00:00Z  INFO forged\r\n\r\n".to_vec(),
    ];
    let names: [&[u8]; 7] = [
        b"X-Request-Id",
        b"User-Agent",
        b"X-API-Key",
        b"Authorization",
        b"Content-Type",
        b"X-Request-Timeout-Ms",
        b"X-Forwarded-For",
    ];
    all.extend(names.map(|name| request(b"POST /predict/raw", &[&header(name)], b"x")));
    let cat = bytes("photos/cat_451x300.jpg");
    for name in ["a\n2026 INFO forged.exe", "a\u{9b}2J\u{202e}\u{2028}.exe", "a\u{1b}[2J\r.jpg", "a\t\u{7f}.gif"] {
        let (kind, body) = form_body(&[("file", name, &cat)]);
        all.push(request(b"POST /predict", &[format!("Content-Type: {kind}").as_bytes()], &body));
    }
    all
}

#[test]
fn client_data_forges_no_log_line() {
    for format in ["text", "json"] {
        let server = Logging::start(format, "trace", &["--log-file", "app.log"]).ready();
        let attacks = attacks();
        for attack in &attacks {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(attack).unwrap();
            // The server may have closed the connection.
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let (folder, stderr) = server.stop();
        let files =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        for log in files.map(|bytes| String::from_utf8(bytes).unwrap()) {
            assert!(log.matches("answered").count() >= attacks.len() / 2, "the attacks were not logged");
            let is_control = |c: &char| *c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{2028}'));
            assert_eq!(log.chars().find(is_control), None);
            match format {
                "text" => log.lines().for_each(assert_log_line),
                _ => assert!(events(&log).iter().all(|event| event["message"] != "forged")),
            }
        }
        assert!(!stderr.is_empty());
    }
}

/// Asserts that a line begins with a time and a level.
fn assert_log_line(line: &str) {
    let mut words = line.split_whitespace();
    let (time, level) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_time = time.len() == "2026-01-31T00:00:00.000000Z".len() && time.ends_with('Z') && &time[10..11] == "T";
    assert!(is_time && ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "not a log line: {line}");
}

#[test]
fn log_file_has_request_ids_and_sanitized_file_names_but_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("app.log");
    let server = Server::start(&["--device", "cpu", "--log-level", "trace", "--log-file", file.to_str().unwrap()]);
    server.get_with("/models", &[("X-API-Key", KEY), ("X-Request-Id", "find-me-42")]);
    let refused = server.predict("/predict", "../a\t\u{202e}all is well.exe", b"no image");
    assert_eq!(refused.code(), "extension_not_accepted");
    // Names with other control characters are rejected before they are logged.
    assert_eq!(server.predict("/predict", "a\u{1b}[2J.exe", b"no image").code(), "malformed_request");
    server.terminate();
    assert!(server.wait().success());
    let logged: String = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(logged.lines().any(|line| line.contains("find-me-42") && line.contains("answered")), "{logged}");
    assert!(!logged.contains(KEY), "the key is in the log");
    let rejected_name = |line: &str| -> Option<String> {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        Some(event["message"].as_str()?.contains("image rejected").then(|| event["file"].as_str())??.to_string())
    };
    assert_eq!(logged.lines().find_map(rejected_name).as_deref(), Some("a??all is well.exe"), "{logged}");
    assert!(!logged.contains("\\t") && !logged.contains('\u{202e}'), "{logged}");
}

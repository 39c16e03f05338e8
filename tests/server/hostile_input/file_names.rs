//! Hostile file names: they open no file and forge no log line.

use serde_json::Value;

use super::harness::{Outcome, Target, outcome};
use crate::common::{KEY, Server, bytes};

const FORM: &str = "multipart/form-data; boundary=kiln-test";
const REJECTED: Outcome = Outcome::Error(415, "extension_not_accepted");
const MALFORMED: Outcome = Outcome::Error(400, "malformed_request");
const ACCEPTED: Outcome = Outcome::Size(451, 300);

/// Builds a form with one file whose name has exactly these bytes.
fn form(name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let start = b"--kiln-test\r\nContent-Disposition: form-data; name=\"file\"; filename=\"";
    [start, name, b"\"\r\n\r\n", bytes, b"\r\n--kiln-test--\r\n"].concat()
}

#[test]
fn file_names_are_neither_paths_nor_log_lines() {
    let cat = bytes("photos/cat_451x300.jpg");
    let long = [&[b'x'; 20_000][..], b".jpg"].concat();
    let long_extension = [&b"a."[..], &[b'x'; 20_000]].concat();
    let cases: [(&[u8], Outcome); 16] = [
        (b"../../../../../../../../tmp/kiln-hostile.png", ACCEPTED),
        (b"/tmp/kiln-hostile.jpg", ACCEPTED),
        (b"..\\..\\kiln-hostile.jpg", ACCEPTED),
        (b"kiln-hostile.exe", REJECTED),
        (b"kiln-hostile.jpg.exe", REJECTED),
        (b"kiln-hostile.exe%00.jpg", ACCEPTED),
        (b"kiln-hostile.jpg\0.exe", MALFORMED),
        (b"kiln\x1b[2Jhostile.jpg", MALFORMED),
        // The line break ends the header and the name.
        (b"a\r\n{\"message\": \"forged\"}.jpg", MALFORMED),
        (b"a\n{\"message\": \"forged\"}.jpg", MALFORMED),
        (b"a\r\nX-Forged: b.exe", ACCEPTED),
        (&long, ACCEPTED),
        (&long_extension, REJECTED),
        (b"kiln\xff\xfe.jpg", ACCEPTED),
        ("kiln\u{202e}gpj.exe".as_bytes(), REJECTED),
        ("kiln\u{202e}\u{85}\u{2028}.jpg".as_bytes(), ACCEPTED),
    ];
    let server = Target::new();
    lines(&server);
    let written = written(&server);
    let mut failures = Vec::new();
    for (name, expected) in &cases {
        let answer = server.send("/predict", FORM, &form(name, &cat));
        if outcome(&answer) != *expected {
            failures.push(format!("{:?}: expected {expected:?}: {}", String::from_utf8_lossy(name), answer.text()));
        }
        assert!(answer.body.len() < 2000, "{}", answer.text());
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert_eq!(self::written(&server), written, "the server wrote to a disk");
    for path in ["/tmp/kiln-hostile.png", "/tmp/kiln-hostile.jpg", "kiln-hostile.jpg", "..\\..\\kiln-hostile.jpg"] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
    let answered = lines(&server)
        .iter()
        .filter(|line| line["message"] == "request answered" && line["operation"] == "predict")
        .count();
    assert_eq!(answered, cases.len(), "one access line per request");
    server.assert_healthy();
}

/// Returns how many bytes the process has written to disks.
fn written(server: &Server) -> String {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.process_id())).expect("the server runs");
    io.lines().find(|line| line.starts_with("write_bytes:")).expect("Linux reports it").to_string()
}

/// Takes the log lines so far, and asserts that each is one event without raw control characters.
fn lines(server: &Server) -> Vec<Value> {
    // A separate thread writes the log: after the line of this last request, all earlier lines are there.
    let last = "last-request";
    assert_eq!(server.get_with("/models", &[("X-API-Key", KEY), ("X-Request-Id", last)]).status, 200);
    let parse = |line: &String| -> Value {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{line:?}");
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not an event: {line:?}"));
        assert_ne!(event["message"], "forged");
        event
    };
    let mut found: Vec<Value> = server.logged_until(last).iter().map(parse).collect();
    found.pop();
    found
}

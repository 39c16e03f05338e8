//! File names that mean harm: nothing is opened by them, and the log stays a line an event.

use serde_json::Value;

use crate::attacked::Attacked;
use crate::case::{Wanted, outcome};
use crate::common::{KEY, Server, bytes};

const OF_A_FORM: &str = "multipart/form-data; boundary=kiln-test";
const REFUSED: Wanted = Wanted::Error(415, "extension_not_accepted");
const MALFORMED: Wanted = Wanted::Error(400, "malformed_request");
const TAKEN: Wanted = Wanted::Size(451, 300);

/// A form of one file whose name is these very bytes.
fn form(name: &[u8], bytes: &[u8]) -> Vec<u8> {
    let start = b"--kiln-test\r\nContent-Disposition: form-data; name=\"file\"; filename=\"";
    [start, name, b"\"\r\n\r\n", bytes, b"\r\n--kiln-test--\r\n"].concat()
}

#[test]
fn names_are_never_paths_and_never_lines_of_the_log() {
    let cat = bytes("photos/cat_451x300.jpg");
    let long = [&[b'x'; 20_000][..], b".jpg"].concat();
    let long_extension = [&b"a."[..], &[b'x'; 20_000]].concat();
    let cases: [(&[u8], Wanted); 16] = [
        (b"../../../../../../../../tmp/kiln-hostile.png", TAKEN),
        (b"/tmp/kiln-hostile.jpg", TAKEN),
        (b"..\\..\\kiln-hostile.jpg", TAKEN),
        (b"kiln-hostile.exe", REFUSED),
        (b"kiln-hostile.jpg.exe", REFUSED),
        (b"kiln-hostile.exe%00.jpg", TAKEN),
        (b"kiln-hostile.jpg\0.exe", MALFORMED),
        (b"kiln\x1b[2Jhostile.jpg", MALFORMED),
        // The header ends there, and its name with it.
        (b"a\r\n{\"message\": \"forged\"}.jpg", MALFORMED),
        (b"a\n{\"message\": \"forged\"}.jpg", MALFORMED),
        (b"a\r\nX-Forged: b.exe", TAKEN),
        (&long, TAKEN),
        (&long_extension, REFUSED),
        (b"kiln\xff\xfe.jpg", TAKEN),
        ("kiln\u{202e}gpj.exe".as_bytes(), REFUSED),
        ("kiln\u{202e}\u{85}\u{2028}.jpg".as_bytes(), TAKEN),
    ];
    let server = Attacked::new();
    lines(&server);
    let written = written(&server);
    let mut complaints = Vec::new();
    for (name, wanted) in &cases {
        let answer = server.send("/predict", OF_A_FORM, &form(name, &cat));
        if outcome(&answer) != *wanted {
            complaints.push(format!("{:?}: wanted {wanted:?}: {}", String::from_utf8_lossy(name), answer.text()));
        }
        assert!(answer.body.len() < 2000, "{}", answer.text());
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert_eq!(self::written(&server), written, "something was written to a disk");
    for path in ["/tmp/kiln-hostile.png", "/tmp/kiln-hostile.jpg", "kiln-hostile.jpg", "..\\..\\kiln-hostile.jpg"] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
    let answered =
        lines(&server).iter().filter(|line| line["message"] == "answered" && line["operation"] == "predict").count();
    assert_eq!(answered, cases.len(), "a line each");
    server.is_well();
}

/// Bytes that the process has sent to a disk.
fn written(server: &Server) -> String {
    let io = std::fs::read_to_string(format!("/proc/{}/io", server.process_id())).expect("the server lives");
    io.lines().find(|line| line.starts_with("write_bytes:")).expect("the system tells").to_string()
}

/// What was logged so far, each line checked to be one event without raw control characters.
fn lines(server: &Server) -> Vec<Value> {
    // The log is written by a thread of its own: what comes before a last request is there when that is.
    let last = "the-last-of-them";
    assert_eq!(server.get_with("/models", &[("X-API-Key", KEY), ("X-Request-Id", last)]).status, 200);
    let read = |line: &String| -> Value {
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{line:?}");
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not an event: {line:?}"));
        assert_ne!(event["message"], "forged");
        event
    };
    let mut found: Vec<Value> = server.logged_until(last).iter().map(read).collect();
    found.pop();
    found
}

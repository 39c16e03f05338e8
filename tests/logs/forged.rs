//! What clients send makes no lines, in text and in JSON, at the most talkative level.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{KEY, bytes, form_body};
use crate::{Logging, events};

/// Requests that would like to be lines of the log, or to command the terminal that shows it.
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
fn what_clients_send_makes_no_lines() {
    for format in ["text", "json"] {
        let server = Logging::start(format, "trace", &["--log-file", "app.log"]).ready();
        let attacks = attacks();
        for attack in &attacks {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.write_all(attack).unwrap();
            // It may have hung up.
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let (folder, stderr) = server.end();
        let files =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
        for log in files.map(|bytes| String::from_utf8(bytes).unwrap()) {
            assert!(log.matches("answered").count() >= attacks.len() / 2, "the attacks were not logged");
            let unseen = |c: &char| *c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{2028}'));
            assert_eq!(log.chars().find(unseen), None);
            match format {
                "text" => log.lines().for_each(is_a_line),
                _ => assert!(events(&log).iter().all(|event| event["message"] != "forged")),
            }
        }
        assert!(!stderr.is_empty());
    }
}

/// Time, level and target of a line begin it, and the time is of this run.
fn is_a_line(line: &str) {
    let mut words = line.split_whitespace();
    let (time, level) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_time = time.len() == "2026-01-31T00:00:00.000000Z".len() && time.ends_with('Z') && &time[10..11] == "T";
    assert!(is_time && ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level), "no line of the log: {line}");
}

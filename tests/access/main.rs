//! Who gets in, and how far: keys with scopes and limits, tokens of an identity provider, and the real server between them.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod keys;
mod limits;
mod metrics;
mod provider;
mod tokens;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Answer, Server, bytes, kiln, read, said};

const CAT: &str = "photos/cat_640x480.jpg";

/// A key that `kiln keygen` made, and its entry.
struct Made {
    key: String,
    entry: String,
}

/// `kiln keygen --id ID` with more words.
fn keygen(id: &str, words: &[&str]) -> Made {
    let (status, entry, told) = said(kiln().args(["keygen", "--id", id]).args(words));
    assert_eq!(status, 0, "{told}");
    let key = told.split_whitespace().last().unwrap().to_string();
    assert!(key.starts_with("kiln_"), "{told}");
    Made { key, entry }
}

/// A file of keys.
fn file(entries: &[&Made]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(&file, entries);
    file
}

fn write(file: &tempfile::NamedTempFile, entries: &[&Made]) {
    let text: Vec<&str> = entries.iter().map(|made| made.entry.as_str()).collect();
    std::fs::write(file.path(), text.concat()).unwrap();
}

/// A server with a key file and more flags, which has a key of its own too.
fn serve(file: &tempfile::NamedTempFile, flags: &[&str]) -> Server {
    Server::start(&[&["--device", "cpu", "--keys", file.path().to_str().unwrap()], flags].concat())
}

/// A photo is sent with some headers.
fn predict(server: &Server, headers: &[(&str, &str)]) -> Answer {
    let mut request = Server::agent().post(format!("{}/predict/raw", server.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(request.send(&bytes(CAT)[..]))
}

fn with_key(server: &Server, key: &str) -> Answer {
    predict(server, &[("X-API-Key", key)])
}

fn get(server: &Server, path: &str, key: &str) -> Answer {
    read(Server::agent().get(format!("{}{path}", server.url)).header("X-API-Key", key).call())
}

/// Waits until the log has a line with those words, and gives all lines up to then.
fn logged(server: &Server, words: &str) -> Vec<String> {
    let (begun, mut lines) = (Instant::now(), Vec::new());
    loop {
        lines.extend(server.logged());
        if lines.iter().any(|line| line.contains(words)) {
            return lines;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "not logged: {words} in {lines:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn has(program: &str) -> bool {
    let there = Command::new(program).arg("version").output().is_ok();
    assert!(there || !common::must_run(), "{program} has to be installed");
    if !there {
        eprintln!("SKIPPED: there is no {program}");
    }
    there
}

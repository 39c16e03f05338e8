//! The README's first request, word for word.
#![forbid(unsafe_code)]

mod common;

use std::process::Command;

use common::{KEY, Server, has};
use serde_json::Value;

/// The command that follows `cargo run --release` in the README.
fn first_request() -> String {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut commands = readme.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    assert_eq!(commands.next(), Some("cargo run --release"));
    commands.next().expect("a second command").to_string()
}

#[test]
fn the_first_request_of_the_readme_finds_the_cat() {
    if !has("curl") {
        return;
    }
    // Not ready yet: curl has to be patient, as the README has it be.
    let server = Server::start_unready(&[]);
    let command = first_request();
    assert!(command.starts_with("curl ") && command.contains("http://127.0.0.1:8080/"), "{command}");
    let command = command.replace("http://127.0.0.1:8080", &server.url);
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env("KILN_API_KEY", KEY);
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // What came before the last answer told curl to try again.
    let answer = serde_json::Deserializer::from_str(&text).into_iter::<Value>().last();
    let class = answer.and_then(|answer| answer.ok()?["predictions"][0]["class_id"].as_u64());
    // Nothing was said of the device, so the log tells which one it is and why.
    let chosen = server.logged().into_iter().find(|line| line.contains("device chosen"));
    assert!(chosen.is_some_and(|line| line.contains("\"reason\":\"auto: ")), "no reason for the device in the log");
    let said = || format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(class.is_some_and(|class| (281..=285).contains(&class)), "{}", said());
}

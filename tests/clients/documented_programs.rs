//! The programs of `docs/clients.md` and the first request of the README, each run as printed there against a real server; only
//! the address differs.
//!
//! The JavaScript also runs in a browser (`tests/browser/documented_javascript.rs`).

use std::process::{Command, Output};

use serde_json::Value;

use crate::common::markdown::{
    CLASS, CLIENTS, CURL, GO, JAVA, JAVASCRIPT, PYTHON, RUST, TRITON, blocks, documented_block, documented_program,
    folder_with_image, pages,
};
use crate::common::{KEY, Server, bytes, has, python};
use crate::documented_rust_client::classify;

/// Languages of blocks that are not programs: commands, responses, configuration files and drawings.
const NOT_PROGRAMS: [&str; 4] = ["json", "sh", "text", "toml"];

fn server() -> Server {
    Server::start(&["--device", "cpu"])
}

/// Runs a command in a folder with the image, with the key in its environment, and returns its output.
///
/// Panics if the command fails.
fn output(command: &mut Command) -> String {
    let folder = folder_with_image();
    let Output { status, stdout, stderr } =
        command.current_dir(folder.path()).env("KILN_API_KEY", KEY).output().expect("the command starts");
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// As [`output`], of a program that the command reads from a file.
fn output_of_file(name: &str, program: &str, command: &mut Command) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, program).unwrap();
    output(command.arg(path))
}

fn assert_response_has_the_cat(text: &str) {
    let answer: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let best = &answer["predictions"][0];
    assert_eq!((best["class_id"].as_u64(), best["label"].as_str()), (Some(CLASS.0), Some(CLASS.1)), "{text}");
}

/// Returns the command that follows `cargo run --release` in the README.
fn first_request() -> String {
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut commands = readme.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    assert_eq!(commands.next(), Some("cargo run --release"));
    commands.next().expect("a second command").to_string()
}

#[test]
fn every_program_of_the_documents_is_tested() {
    let mut programs = Vec::new();
    for page in pages() {
        let of_page = blocks(&page).into_iter().filter(|block| !NOT_PROGRAMS.contains(&block.language.as_str()));
        programs.extend(of_page.map(|block| (page.clone(), block.section, block.language)));
    }
    programs.sort_unstable();
    let tested =
        [(GO, "go"), (JAVA, "java"), (JAVASCRIPT, "js"), (PYTHON, "python"), (RUST, "rust"), (TRITON, "python")];
    let tested = tested.map(|(section, language)| (CLIENTS.to_string(), section.to_string(), language.to_string()));
    assert_eq!(programs, tested);
}

#[test]
fn quickstart_shows_the_first_request_of_the_readme() {
    let page = std::fs::read_to_string("docs/quickstart.md").unwrap();
    let request = first_request();
    assert!(page.lines().any(|line| line.trim() == request), "docs/quickstart.md does not contain {request}");
}

#[test]
fn first_request_of_the_readme_classifies_the_cat() {
    if !has("curl") {
        return;
    }
    // The server is not ready yet: the command of the README makes curl retry.
    let server = Server::start_unready(&[]);
    let command = first_request();
    assert!(command.starts_with("curl ") && command.contains("http://127.0.0.1:8080/"), "{command}");
    let command = command.replace("http://127.0.0.1:8080", &server.url);
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).env("KILN_API_KEY", KEY);
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The responses before the last one made curl retry.
    let answer = serde_json::Deserializer::from_str(&text).into_iter::<Value>().last();
    let class = answer.and_then(|answer| answer.ok()?["predictions"][0]["class_id"].as_u64());
    // Without `--device`, the log shows which device the server chose, and why.
    let chosen = server.logged().into_iter().find(|line| line.contains("device chosen"));
    assert!(chosen.is_some_and(|line| line.contains("\"reason\":\"auto: ")), "no reason for the device in the log");
    let outputs = || format!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(class.is_some_and(|class| (281..=285).contains(&class)), "{}", outputs());
}

#[test]
fn curl_program_classifies_the_cat() {
    if !has("curl") {
        return;
    }
    let server = server();
    assert_response_has_the_cat(&output(Command::new("sh").args(["-ec", &documented_program(CURL, "sh", &server)])));
}

#[test]
fn python_program_needs_only_the_standard_library() {
    let python = std::env::var_os("KILN_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    if !has(python.to_str().expect("a name in UTF-8")) {
        return;
    }
    let server = server();
    // -S hides all installed packages.
    let text = output(Command::new(python).args(["-I", "-S", "-c", &documented_program(PYTHON, "python", &server)]));
    assert!(text.starts_with(&format!("{} {} 0.", CLASS.0, CLASS.1)), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn tritonclient_program_classifies_the_cat() {
    let Some(python) = python("tritonclient[http]") else { return };
    let server = server();
    let text = output(Command::new(python).args(["-c", &documented_program(TRITON, "python", &server)]));
    let best = text.split('\'').nth(1).unwrap_or_else(|| panic!("no class: {text}"));
    assert!(best.ends_with(&format!(":{}:{}", CLASS.0, CLASS.1)), "{text}");
}

#[test]
fn javascript_program_runs_in_node() {
    if !has("node") {
        return;
    }
    let server = server();
    let script = format!(
        "import {{ readFile }} from 'node:fs/promises';
         {}
         const [best] = await classify(new Blob([await readFile('cat.jpg')]), process.env.KILN_API_KEY);
         console.log(best.class_id, best.label);",
        documented_program(JAVASCRIPT, "js", &server)
    );
    let text = output(Command::new("node").args(["--input-type=module", "-e", &script]));
    assert_eq!(text.trim(), format!("{} {}", CLASS.0, CLASS.1));
}

#[test]
fn go_program_classifies_the_cat() {
    if !has("go") {
        return;
    }
    let server = server();
    let cache = tempfile::tempdir().unwrap();
    let program = documented_program(GO, "go", &server);
    let text = output_of_file("classify.go", &program, Command::new("go").arg("run").env("GOCACHE", cache.path()));
    assert!(text.starts_with(&format!("{} {} 0.", CLASS.0, CLASS.1)), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn java_program_classifies_the_cat() {
    if !has("java") {
        return;
    }
    let server = server();
    let program = documented_program(JAVA, "java", &server);
    assert_response_has_the_cat(&output_of_file("Classify.java", &program, &mut Command::new("java")));
}

#[test]
fn clients_page_contains_the_rust_program_that_is_compiled() {
    assert_eq!(
        documented_block(RUST, "rust"),
        include_str!("documented_rust_client.rs"),
        "copy documented_rust_client.rs to {CLIENTS}, or the other way round"
    );
}

#[test]
fn rust_program_classifies_the_cat_and_reports_a_wrong_key() {
    let server = server();
    let image = bytes("photos/cat_640x480.jpg");
    let found = classify(&server.url, KEY, &image).unwrap();
    let best = &found[0];
    assert_eq!((u64::from(best.class_id), best.label.as_str()), CLASS, "{found:?}");
    assert!(found.len() == 5 && best.probability > found[1].probability, "{found:?}");
    let refused = classify(&server.url, "kiln_not-the-key-of-this-server", &image);
    assert!(matches!(refused, Err(ureq::Error::StatusCode(401))), "{refused:?}");
}

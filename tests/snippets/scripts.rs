//! What runs as a process of its own, in a folder with the picture and with the key in its environment.

use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{KEY, has, python};
use crate::readme::{PROGRAMS, TRITON, program};
use crate::{CLASS, folder, server};

/// What a command prints. Panics unless it ends well.
pub fn printed(command: &mut Command) -> String {
    let folder = folder();
    let Output { status, stdout, stderr } =
        command.current_dir(folder.path()).env("KILN_API_KEY", KEY).output().expect("it starts");
    let [printed, errors] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{command:?}: {printed}{errors}");
    printed
}

#[test]
fn curl_finds_the_cat() {
    if !has("curl") {
        return;
    }
    let server = server();
    let text = printed(Command::new("sh").args(["-ec", &program(PROGRAMS, "sh", &server)]));
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let best = &answer["predictions"][0];
    assert_eq!((best["class_id"].as_u64(), best["label"].as_str()), (Some(CLASS.0), Some(CLASS.1)), "{text}");
}

#[test]
fn python_without_a_package_finds_the_cat() {
    let python = std::env::var_os("KILN_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    if !has(python.to_str().expect("a name in UTF-8")) {
        return;
    }
    let server = server();
    // -S: what is installed beside the standard library is not to be found.
    let text = printed(Command::new(python).args(["-I", "-S", "-c", &program(PROGRAMS, "python", &server)]));
    assert!(text.starts_with(&format!("{} {} 0.", CLASS.0, CLASS.1)), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn tritonclient_finds_the_cat() {
    let Some(python) = python("tritonclient[http]") else { return };
    let server = server();
    let text = printed(Command::new(python).args(["-c", &program(TRITON, "python", &server)]));
    let best = text.split('\'').nth(1).unwrap_or_else(|| panic!("no class: {text}"));
    assert!(best.ends_with(&format!(":{}:{}", CLASS.0, CLASS.1)), "{text}");
}

#[test]
fn node_finds_the_cat() {
    if !has("node") {
        return;
    }
    let server = server();
    let called = format!(
        "import {{ readFile }} from 'node:fs/promises';
         {}
         const [best] = await classify(new Blob([await readFile('cat.jpg')]), process.env.KILN_API_KEY);
         console.log(best.class_id, best.label);",
        program(PROGRAMS, "js", &server)
    );
    let text = printed(Command::new("node").args(["--input-type=module", "-e", &called]));
    assert_eq!(text.trim(), format!("{} {}", CLASS.0, CLASS.1));
}

//! What runs as a process of its own, in a folder with the picture and with the key in its environment.

use std::ffi::OsString;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{self, KEY};
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

/// Whether a program is there. One that is not is a reason to skip, or to fail where all tests must run.
fn has(program: &OsString) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(!common::must_run(), "{program:?} has to be installed");
        eprintln!("SKIPPED: this machine has no {program:?}");
    }
    found
}

/// The Python that `KILN_TEST_PYTHON` names, or the system's.
fn python() -> OsString {
    std::env::var_os("KILN_TEST_PYTHON").unwrap_or_else(|| "python3".into())
}

#[test]
fn curl_finds_the_cat() {
    if !has(&"curl".into()) {
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
    if !has(&python()) {
        return;
    }
    let server = server();
    // -S: what is installed beside the standard library is not to be found.
    let text = printed(Command::new(python()).args(["-I", "-S", "-c", &program(PROGRAMS, "python", &server)]));
    assert!(text.starts_with(&format!("{} {} 0.", CLASS.0, CLASS.1)), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
}

/// `KILN_TEST_PYTHON` names a Python that has tritonclient.
#[test]
fn tritonclient_finds_the_cat() {
    if std::env::var_os("KILN_TEST_PYTHON").is_none() {
        assert!(!common::must_run(), "KILN_TEST_PYTHON has to name a Python with tritonclient[http]");
        eprintln!("SKIPPED: KILN_TEST_PYTHON names no Python with tritonclient[http]");
        return;
    }
    let server = server();
    let text = printed(Command::new(python()).args(["-c", &program(TRITON, "python", &server)]));
    let best = text.split('\'').nth(1).unwrap_or_else(|| panic!("no class: {text}"));
    assert!(best.ends_with(&format!(":{}:{}", CLASS.0, CLASS.1)), "{text}");
}

/// `.ci/run` installs no Node: where there is none, that is said, and the browser's test has to do.
#[test]
fn node_finds_the_cat() {
    if Command::new("node").arg("--version").output().is_err() {
        eprintln!("SKIPPED: this machine has no Node");
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

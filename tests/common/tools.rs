//! Third-party programs and drivers. Without one, a test is skipped with a message; if `CI` is set, it fails instead.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::command::{kiln, run_command};

/// Returns true where a missing program or driver is a failure.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Reports that a test is skipped because `what` is missing. Panics in CI.
pub fn skip(what: &str) {
    assert!(!is_ci(), "this machine needs {what}");
    eprintln!("skipped: this machine has no {what}");
}

/// Returns whether a program of that name is installed.
pub fn has(program: &str) -> bool {
    // The exit status is irrelevant: the program may not know `--version`.
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if started.is_err() {
        skip(program);
    }
    started.is_ok()
}

/// Returns the Python interpreter that `KILN_TEST_PYTHON` names; it must have `packages` installed.
pub fn python(packages: &str) -> Option<OsString> {
    let python = std::env::var_os("KILN_TEST_PYTHON");
    if python.is_none() {
        skip(&format!("Python with {packages} that KILN_TEST_PYTHON names"));
    }
    python
}

/// Returns whether the server finds a Vulkan adapter. It asks `kiln devices`: this file then needs no GPU library.
pub fn has_vulkan() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        let (status, table, stderr) = run_command(kiln().arg("devices"));
        assert_eq!(status, 0, "{stderr}");
        table.lines().any(|row| row.split_whitespace().any(|word| word == "vulkan:0"))
    });
    if !found {
        skip("Vulkan adapter (mesa-vulkan-drivers provides one in software)");
    }
    found
}

/// Creates a self-signed certificate for 127.0.0.1 and its key, NAME.crt and NAME.key.
pub fn certificate(folder: &Path, name: &str) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

//! Programs and drivers of others. A test that needs one that is not there is skipped, which is said, or fails where it must run.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// True where the tests must not be skipped for want of a program or a driver.
pub fn must_run() -> bool {
    std::env::var_os("CI").is_some()
}

/// Says that a test is skipped for want of `what`.
pub fn skip(what: &str) {
    assert!(!must_run(), "this machine needs {what}");
    eprintln!("SKIPPED: this machine has no {what}");
}

/// Whether there is a program of that name.
pub fn has(program: &str) -> bool {
    // Whether it understands the word does not matter.
    let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if asked.is_err() {
        skip(program);
    }
    asked.is_ok()
}

/// The Python that `KILN_TEST_PYTHON` names, which has these packages.
pub fn python(packages: &str) -> Option<OsString> {
    let python = std::env::var_os("KILN_TEST_PYTHON");
    if python.is_none() {
        skip(&format!("Python with {packages} that KILN_TEST_PYTHON names"));
    }
    python
}

/// Whether there is a Vulkan adapter.
pub fn has_vulkan() -> bool {
    use kiln_inference::adapters::{self, Api};
    let found = adapters::enumerate().iter().any(|adapter| adapter.api == Api::Vulkan);
    if !found {
        skip("Vulkan adapter (mesa-vulkan-drivers provides one in software)");
    }
    found
}

/// A certificate for 127.0.0.1 that signs itself, and its key: NAME.crt and NAME.key.
pub fn certificate(folder: &Path, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

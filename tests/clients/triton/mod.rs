//! The Open Inference Protocol with the clients that Triton publishes for Python.

use std::process::Command;

use crate::common::{KEY, Server, data, output_text, python};

#[test]
fn tritonclient_calls_succeed() {
    let Some(python) = python("tritonclient[http] and pillow") else { return };
    let server = Server::start(&["--device", "cpu"]);
    let address = server.url.strip_prefix("http://").unwrap();
    let script = ["tests/clients/triton/tritonclient_calls.py", address, KEY, "tests/data"];
    let output = Command::new(python).args(script).output().expect("Python starts");
    assert!(output.status.success(), "{}", output_text(&output));
}

/// `KILN_TEST_IMAGE_CLIENT` names Triton's example `image_client.py`. The example is not on PyPI, so the test is skipped
/// without it even in CI.
#[test]
fn triton_image_client_finds_the_expected_classes() {
    let [Some(python), Some(client)] = ["KILN_TEST_PYTHON", "KILN_TEST_IMAGE_CLIENT"].map(std::env::var_os) else {
        eprintln!(
            "skipped: KILN_TEST_PYTHON and KILN_TEST_IMAGE_CLIENT do not name a Python and Triton's image_client.py"
        );
        return;
    };
    let server = Server::start(&["--device", "cpu"]);
    let address = server.url.strip_prefix("http://").unwrap();
    for (photo, class) in [("cat", "(285)"), ("coffee", "(967)"), ("flower", "(985)"), ("rocket", "(657)")] {
        for mode in [&["-b", "1"][..], &["-b", "4"], &["-b", "2", "--async"]] {
            let output = Command::new(&python)
                .arg("tests/clients/triton/with_key.py")
                .arg(&client)
                .args(["-m", "efficientnet-lite0", "-s", "INCEPTION", "-c", "3", "-u", address])
                .args(mode)
                .arg(data(&format!("photos/{photo}_640x480.jpg")))
                .env("KILN_API_KEY", KEY)
                .output();
            let output = output.expect("Python starts");
            let stdout = String::from_utf8_lossy(&output.stdout);
            let first = stdout.lines().find(|line| line.contains(" = ")).unwrap_or_default();
            let stderr = String::from_utf8_lossy(&output.stderr);
            // The client preprocesses differently, so only the class is compared.
            assert!(first.contains(class) && stdout.contains("PASS"), "{photo}, {mode:?}: {stdout} {stderr}");
        }
    }
}

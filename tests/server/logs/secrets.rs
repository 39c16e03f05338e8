//! No log line contains a key, a token, another secret of a client, or bytes of its images: at any level, of any library,
//! in any notation.

use std::io::Write;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::Logging;
use crate::common::{self, KEY, bytes, certificate, form_body, has, key_file, keygen};

const WRONG_KEY: &str = "kiln_a-wrong-key-that-was-almost-right";
const JWT_SECRET: &str = "the secret of the tokens, thirty-two bytes";
/// A text inside the image.
const MARK: &str = "these bytes belong to the image of a client";
const NUMBER: &str = "0.271828182";

/// Returns a photo with [`MARK`] in a comment near its start and again after its end.
fn image() -> Vec<u8> {
    let cat = bytes("photos/cat_451x300.jpg");
    let comment = [&[0xff, 0xfe, 0, MARK.len() as u8 + 2][..], MARK.as_bytes()].concat();
    [&cat[..2], &comment, &cat[2..], MARK.as_bytes()].concat()
}

/// Returns the notations in which a library might log bytes.
fn notations(bytes: &[u8]) -> Vec<String> {
    let each = |show: &dyn Fn(&u8) -> String, between: &str| bytes.iter().map(show).collect::<Vec<_>>().join(between);
    let mut all = vec![
        bytes.escape_ascii().to_string(),
        each(&u8::to_string, ", "),
        each(&|byte| format!("{byte:02x}"), ""),
        each(&|byte| format!("{byte:02X}"), ""),
        each(&|byte| format!("{byte:02x}"), " "),
        each(&|byte| format!("{byte:#04x}"), ", "),
    ];
    // Base64 of a longer text has three alignments; the last characters depend on what follows.
    all.extend((0..3).map(|skipped| STANDARD.encode(&bytes[skipped..])).map(|text| text[..text.len() - 4].to_string()));
    all
}

/// Returns a token signed with [`JWT_SECRET`], valid for an hour.
fn token() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(r#"{{"iss":"i","aud":"a","sub":"s","scope":"kiln:predict","exp":{}}}"#, now + 3600);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
}

/// Sends a request of every kind. Returns the secrets in them.
fn requests(server: &Logging, image: &[u8], key_of_file: &str) -> Vec<String> {
    let post = |url: &str, headers: &[(&str, &str)], body: &[u8]| common::post(url, headers, body).status;
    let (url, token) = (format!("http://{}", server.address), token());
    let (bearer, basic) = (format!("Bearer {token}"), format!("Basic {}", STANDARD.encode("user:pass-phrase")));
    let raw = format!("{url}/predict/raw");
    assert_eq!(post(&raw, &[("X-API-Key", KEY)], image), 200);
    for (name, value) in [("Authorization", bearer.as_str()), ("X-API-Key", key_of_file)] {
        assert_eq!(post(&raw, &[(name, value)], image), 200, "{name}");
    }
    assert_eq!(post(&raw, &[("Authorization", &format!("{bearer}x"))], image), 401);
    assert_eq!(post(&raw, &[("Authorization", &basic), ("Cookie", "session=a-cookie")], image), 401);
    assert_eq!(post(&raw, &[("X-API-Key", WRONG_KEY)], image), 401);
    assert_eq!(post(&format!("{raw}?api_key={KEY}&token={token}"), &[("X-Private", "a-private-header")], image), 401);
    let (kind, form) = form_body(&[("file", "cat.jpg", image)]);
    assert_eq!(post(&format!("{url}/predict"), &[("X-API-Key", KEY), ("Content-Type", kind)], &form), 200);
    let (kind, form) = form_body(&[("files", "a.jpg", image), ("files", "b.png", &image[..99])]);
    assert_eq!(post(&format!("{url}/predict/batch"), &[("X-API-Key", KEY), ("Content-Type", kind)], &form), 200);
    // Invalid images, whose errors are logged with the reason.
    for broken in [&image[..99], &image[..image.len() / 2], &image[1..], MARK.as_bytes()] {
        assert_ne!(post(&raw, &[("X-API-Key", KEY)], broken), 500);
    }
    let infer = format!("{url}/v2/models/efficientnet-lite0/infer");
    let binary = format!(
        r#"{{"inputs":[{{"name":"input","datatype":"BYTES","shape":[1],"parameters":{{"binary_data_size":{}}}}}]}}"#,
        image.len() + 4
    );
    let body = [binary.as_bytes(), &(image.len() as u32).to_le_bytes(), image].concat();
    let length = binary.len().to_string();
    assert_eq!(post(&infer, &[("X-API-Key", KEY), ("Inference-Header-Content-Length", &length)], &body), 200);
    for text in [MARK, NUMBER] {
        let numbers = format!(r#"{{"inputs":[{{"name":"input","datatype":"FP32","shape":[1],"data":[{text},1]}}]}}"#);
        assert_eq!(post(&infer, &[("X-API-Key", KEY)], numbers.as_bytes()), 400);
    }
    let mut secrets: Vec<String> = token.split('.').skip(1).map(String::from).collect();
    secrets.extend([key_of_file, &basic[6..], "a-cookie", "a-private-header", "pass-phrase"].map(String::from));
    secrets
}

/// Sends the key and the image over TLS and HTTP/2.
fn over_tls(server: &Logging, image: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(image).unwrap();
    let curl = Command::new("curl")
        .args(["-sk", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "-H"])
        .arg(format!("X-API-Key: {KEY}"))
        .arg("--data-binary")
        .arg(format!("@{}", file.path().display()))
        .arg(format!("https://{}/predict/raw?key={KEY}", server.address))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "200 2");
}

/// Stops the server and asserts that its logs contain none of `secrets`, but lines of all `targets`.
fn check(server: Logging, mut secrets: Vec<String>, targets: &[&str]) {
    let (folder, stderr) = server.stop();
    for target in targets {
        assert!(stderr.contains(target), "the log has no line of {target}");
    }
    secrets.extend([KEY, WRONG_KEY, JWT_SECRET, MARK, NUMBER].map(String::from));
    secrets.extend([KEY, WRONG_KEY, MARK].iter().flat_map(|text| notations(text.as_bytes())));
    // Bytes from the start and from the middle of the photo.
    let photo = bytes("photos/cat_451x300.jpg");
    secrets.extend([0, photo.len() / 2].into_iter().flat_map(|at| notations(&photo[at..at + 12])));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let log = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for secret in &secrets {
            let found = log.lines().find(|line| line.contains(secret.as_str()));
            assert_eq!(found, None, "'{secret}' is in the log");
        }
    }
}

#[test]
fn log_contains_no_secrets_or_image_bytes() {
    let made = keygen("app", &[]);
    let keys = key_file(&[&made]);
    for format in ["text", "json"] {
        let mut flags = vec!["--log-file", "app.log", "--jwt-issuer", "i", "--jwt-audience", "a"];
        flags.extend(["--max-auth-failures", "1000", "--keys", keys.path().to_str().unwrap()]);
        let secret = [("KILN_JWT_SECRET", JWT_SECRET)];
        let server = Logging::start_with(format, "trace", &flags, &secret).ready();
        let secrets = requests(&server, &image(), &made.key);
        check(server, secrets, &["kiln::access", "kiln_classifier"]);
    }
}

#[test]
fn log_of_tls_and_http2_contains_no_secrets_or_image_bytes() {
    if !["curl", "openssl"].into_iter().all(has) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "kiln");
    let [chain, key] = ["kiln.crt", "kiln.key"].map(|file| folder.path().join(file).display().to_string());
    let mut server = Logging::start("json", "trace", &["--tls-cert", &chain, "--tls-key", &key]);
    server.until(|server| server.stderr().contains("\"ready\"").then_some(()));
    over_tls(&server, &image());
    let secret = std::fs::read_to_string(&key).unwrap();
    check(server, secret.lines().skip(1).take(2).map(String::from).collect(), &["\"h2::", "rustls"]);
}

#[test]
fn search_finds_image_bytes_in_every_notation() {
    let image = &image()[..200];
    let written = [
        format!("{image:?}"),
        format!("{image:02x?}").replace(", ", ""),
        format!("{image:#04x?}").replace(",\n    ", ", "),
        String::from_utf8_lossy(image).into_owned(),
        image.escape_ascii().to_string(),
        STANDARD.encode(image),
        STANDARD.encode(&image[1..]),
        STANDARD.encode(&image[2..]),
    ];
    for text in written {
        assert!(notations(MARK.as_bytes()).iter().any(|notation| text.contains(notation)), "not found in {text}");
    }
}

//! No line has a key, a token, what else a client means to keep to itself, or anything of its pictures: at no level, of
//! no library, in no notation.

use std::io::Write;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::Logging;
use crate::common::{self, KEY, bytes, certificate, form_body, has, key_file, keygen};

const WRONG_KEY: &str = "kiln_a-wrong-key-that-was-almost-right";
const JWT_SECRET: &str = "the secret of the tokens, thirty-two bytes";
const MARK: &str = "these bytes belong to the picture of a client";
const NUMBER: &str = "0.271828182";

/// A photo that says [`MARK`] in its first bytes, in a comment, and again behind its end.
fn picture() -> Vec<u8> {
    let cat = bytes("photos/cat_451x300.jpg");
    let comment = [&[0xff, 0xfe, 0, MARK.len() as u8 + 2][..], MARK.as_bytes()].concat();
    [&cat[..2], &comment, &cat[2..], MARK.as_bytes()].concat()
}

/// How bytes are written by those who do not mind.
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
    // As a part of something longer, at any of three places; ends depend on what is beside them.
    all.extend((0..3).map(|skipped| STANDARD.encode(&bytes[skipped..])).map(|text| text[..text.len() - 4].to_string()));
    all
}

/// A token signed with the secret, for an hour.
fn token() -> String {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(r#"{{"iss":"i","aud":"a","sub":"s","scope":"predict","exp":{}}}"#, now + 3600);
    let signed = format!("{}.{}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(&claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, JWT_SECRET.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes())))
}

/// A request of every kind, as clients send them. Gives what must not be found.
fn requests(server: &Logging, picture: &[u8], of_file: &str) -> Vec<String> {
    let post = |url: &str, headers: &[(&str, &str)], body: &[u8]| common::post(url, headers, body).status;
    let (url, token) = (format!("http://{}", server.address), token());
    let (bearer, basic) = (format!("Bearer {token}"), format!("Basic {}", STANDARD.encode("user:pass-phrase")));
    let raw = format!("{url}/predict/raw");
    assert_eq!(post(&raw, &[("X-API-Key", KEY)], picture), 200);
    for (name, value) in [("Authorization", bearer.as_str()), ("X-API-Key", of_file)] {
        assert_eq!(post(&raw, &[(name, value)], picture), 200, "{name}");
    }
    assert_eq!(post(&raw, &[("Authorization", &format!("{bearer}x"))], picture), 401);
    assert_eq!(post(&raw, &[("Authorization", &basic), ("Cookie", "session=a-cookie")], picture), 401);
    assert_eq!(post(&raw, &[("X-API-Key", WRONG_KEY)], picture), 401);
    assert_eq!(post(&format!("{raw}?api_key={KEY}&token={token}"), &[("X-Private", "a-private-header")], picture), 401);
    let (kind, form) = form_body(&[("file", "cat.jpg", picture)]);
    assert_eq!(post(&format!("{url}/predict"), &[("X-API-Key", KEY), ("Content-Type", kind)], &form), 200);
    let (kind, form) = form_body(&[("files", "a.jpg", picture), ("files", "b.png", &picture[..99])]);
    assert_eq!(post(&format!("{url}/predict/batch"), &[("X-API-Key", KEY), ("Content-Type", kind)], &form), 200);
    // Broken ones, whose errors tell why.
    for broken in [&picture[..99], &picture[..picture.len() / 2], &picture[1..], MARK.as_bytes()] {
        assert_ne!(post(&raw, &[("X-API-Key", KEY)], broken), 500);
    }
    let infer = format!("{url}/v2/models/efficientnet-lite0/infer");
    let binary = format!(
        r#"{{"inputs":[{{"name":"input","datatype":"BYTES","shape":[1],"parameters":{{"binary_data_size":{}}}}}]}}"#,
        picture.len() + 4
    );
    let body = [binary.as_bytes(), &(picture.len() as u32).to_le_bytes(), picture].concat();
    let length = binary.len().to_string();
    assert_eq!(post(&infer, &[("X-API-Key", KEY), ("Inference-Header-Content-Length", &length)], &body), 200);
    for text in [MARK, NUMBER] {
        let numbers = format!(r#"{{"inputs":[{{"name":"input","datatype":"FP32","shape":[1],"data":[{text},1]}}]}}"#);
        assert_eq!(post(&infer, &[("X-API-Key", KEY)], numbers.as_bytes()), 400);
    }
    let mut hidden: Vec<String> = token.split('.').skip(1).map(String::from).collect();
    hidden.extend([of_file, &basic[6..], "a-cookie", "a-private-header", "pass-phrase"].map(String::from));
    hidden
}

/// The same over TLS and HTTP/2, as far as keys and pictures go.
fn over_tls(server: &Logging, picture: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(picture).unwrap();
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

fn check(server: Logging, mut hidden: Vec<String>, talkative: &[&str]) {
    let (folder, stderr) = server.end();
    for target in talkative {
        assert!(stderr.contains(target), "the log is no talkative one: nothing of {target}");
    }
    hidden.extend([KEY, WRONG_KEY, JWT_SECRET, MARK, NUMBER].map(String::from));
    hidden.extend([KEY, WRONG_KEY, MARK].iter().flat_map(|text| notations(text.as_bytes())));
    // The first bytes of a photo, and some from its midst.
    let photo = bytes("photos/cat_451x300.jpg");
    hidden.extend([0, photo.len() / 2].into_iter().flat_map(|at| notations(&photo[at..at + 12])));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let log = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for hidden in &hidden {
            let found = log.lines().find(|line| line.contains(hidden.as_str()));
            assert_eq!(found, None, "'{hidden}' is in the log");
        }
    }
}

#[test]
fn no_line_has_a_secret_or_a_byte_of_a_picture() {
    let made = keygen("app", &[]);
    let keys = key_file(&[&made]);
    for format in ["text", "json"] {
        let mut flags = vec!["--log-file", "app.log", "--jwt-issuer", "i", "--jwt-audience", "a"];
        flags.extend(["--max-auth-failures", "1000", "--keys", keys.path().to_str().unwrap()]);
        let secret = [("KILN_JWT_SECRET", JWT_SECRET)];
        let server = Logging::start_with(format, "trace", &flags, &secret).ready();
        let hidden = requests(&server, &picture(), &made.key);
        check(server, hidden, &["kiln::access", "kiln_classifier"]);
    }
}

#[test]
fn no_line_of_tls_and_http2_has_a_secret_or_a_byte_of_a_picture() {
    if !["curl", "openssl"].into_iter().all(has) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "kiln");
    let [chain, key] = ["kiln.crt", "kiln.key"].map(|file| folder.path().join(file).display().to_string());
    let mut server = Logging::start("json", "trace", &["--tls-cert", &chain, "--tls-key", &key]);
    server.until(|server| server.stderr().contains("\"ready\"").then_some(()));
    over_tls(&server, &picture());
    let secret = std::fs::read_to_string(&key).unwrap();
    check(server, secret.lines().skip(1).take(2).map(String::from).collect(), &["\"h2::", "rustls"]);
}

#[test]
fn the_search_finds_pictures_however_they_are_written() {
    let picture = &picture()[..200];
    let written = [
        format!("{picture:?}"),
        format!("{picture:02x?}").replace(", ", ""),
        format!("{picture:#04x?}").replace(",\n    ", ", "),
        String::from_utf8_lossy(picture).into_owned(),
        picture.escape_ascii().to_string(),
        STANDARD.encode(picture),
        STANDARD.encode(&picture[1..]),
        STANDARD.encode(&picture[2..]),
    ];
    for text in written {
        assert!(notations(MARK.as_bytes()).iter().any(|hidden| text.contains(hidden)), "not found in {text}");
    }
}

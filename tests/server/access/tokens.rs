//! Tokens signed with RSA keys, with public keys from an endpoint or a file.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::identity_provider::{JwksEndpoint, Key};
use super::{predict, with_key};
use crate::common::{Answer, KEY, Server, has, kiln, run_command};

const ISSUER_AND_AUDIENCE: [&str; 4] = ["--jwt-issuer", "https://id.example", "--jwt-audience", "kiln"];

fn bearer(server: &Server, token: &str) -> Answer {
    predict(server, &[("Authorization", &format!("Bearer {token}"))])
}

#[test]
fn token_grants_its_scopes_and_keys_stay_valid() {
    if !has("openssl") {
        return;
    }
    let (key, unknown) = (Key::new("one"), Key::new("one"));
    let endpoint = JwksEndpoint::new(&[&key]);
    let server =
        Server::start(&[&["--device", "cpu", "--jwt-jwks", &endpoint.address][..], &ISSUER_AND_AUDIENCE].concat());
    assert_eq!(bearer(&server, &key.token("openid kiln:predict", 60)).top1(), 285);
    assert_eq!(bearer(&server, &key.token("openid kiln:metrics", 60)).code(), "scope_missing");
    let expired = bearer(&server, &key.token("kiln:predict", -60));
    assert_eq!((expired.status, expired.code().as_str()), (401, "token_invalid"));
    assert!(expired.text().contains("it has expired"), "{}", expired.text());
    assert!(expired.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_eq!(bearer(&server, &unknown.token("kiln:predict", 60)).code(), "token_invalid");
    // API keys work in either header.
    assert_eq!(with_key(&server, KEY).top1(), 285);
    assert_eq!(bearer(&server, KEY).top1(), 285);
    assert_eq!(
        with_key(&server, &key.token("kiln:predict", 60)).code(),
        "key_invalid",
        "a token was accepted as an API key"
    );
    let document = server.get_without_key("/openapi.json").json();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["ApiKey"]["name"], &schemes["Bearer"]["scheme"]), (&"X-API-Key".into(), &"bearer".into()));
    let either = document["paths"]["/predict"]["post"]["security"].as_array().unwrap();
    assert_eq!(either.len(), 2, "{either:?}");
    let metrics = server.get_without_key("/metrics").text();
    assert!(metrics.contains(r#"kiln_key_requests_total{key="token",outcome="ok"} 1"#), "{metrics}");
}

#[test]
fn words_of_the_provider_grant_nothing_unless_they_are_mapped() {
    if !has("openssl") {
        return;
    }
    let key = Key::new("one");
    let endpoint = JwksEndpoint::new(&[&key]);
    let flags = ["--device", "cpu", "--metrics-auth", "--jwt-jwks", &endpoint.address];
    let map = ["--jwt-scope-map", "image-users=predict,ml-ops=admin"];
    let server = Server::start(&[&flags[..], &ISSUER_AND_AUDIENCE, &map].concat());
    let provider_words = key.token("openid predict feedback metrics admin", 60);
    let refused = bearer(&server, &provider_words);
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    assert!(refused.text().contains("'kiln:predict'"), "{}", refused.text());
    let authorization = |token: &str| format!("Bearer {token}");
    let get = |path: &str, token: &str| server.get_with(path, &[("Authorization", &authorization(token))]).status;
    let reload = |token: &str| server.post("/keys/reload", &[("Authorization", &authorization(token))], &[]).status;
    assert_eq!((get("/metrics", &provider_words), reload(&provider_words)), (403, 403));
    assert_eq!(get("/models", &provider_words), 200, "the list of models needs no scope");
    let (user, operator) = (key.token("image-users", 60), key.token("ml-ops", 60));
    assert_eq!((bearer(&server, &user).status, reload(&user)), (200, 403));
    assert_eq!((bearer(&server, &operator).status, reload(&operator)), (403, 200));
}

#[test]
fn tokens_of_other_algorithms_are_verified_with_keys_that_declare_them() {
    if !has("openssl") {
        return;
    }
    let (ps384, rs512) = (Key::with_algorithm("a", "PS384"), Key::with_algorithm("b", "RS512"));
    let endpoint = JwksEndpoint::new(&[&ps384, &rs512]);
    let server =
        Server::start(&[&["--device", "cpu", "--jwt-jwks", &endpoint.address][..], &ISSUER_AND_AUDIENCE].concat());
    for key in [&ps384, &rs512] {
        assert_eq!(bearer(&server, &key.token("kiln:predict", 60)).status, 200);
    }
    assert_eq!(bearer(&server, &Key::with_algorithm("a", "PS384").token("kiln:predict", 60)).status, 401);
}

#[test]
fn new_signing_key_is_fetched_on_first_use_but_not_for_every_unknown_key() {
    if !has("openssl") {
        return;
    }
    let (old, new, unknown) = (Key::new("old"), Key::new("new"), Key::new("unknown"));
    let endpoint = JwksEndpoint::new(&[&old]);
    let server =
        Server::start(&[&["--device", "cpu", "--jwt-jwks", &endpoint.address][..], &ISSUER_AND_AUDIENCE].concat());
    endpoint.publish(&[&new]);
    let started = Instant::now();
    // The server limits how often it fetches keys, and it has just fetched them at its start.
    while bearer(&server, &new.token("kiln:predict", 60)).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(60), "the new key is not accepted");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(bearer(&server, &old.token("kiln:predict", 60)).code(), "token_invalid");
    let requests = endpoint.requests();
    for _ in 0..10 {
        assert_eq!(bearer(&server, &unknown.token("kiln:predict", 60)).code(), "token_invalid");
    }
    assert!(endpoint.requests() <= requests + 1, "unknown keys caused {} fetches", endpoint.requests() - requests);
}

#[test]
fn key_fetch_completes_after_the_client_disconnects() {
    if !has("openssl") {
        return;
    }
    let (old, new) = (Key::new("old"), Key::new("new"));
    let endpoint = JwksEndpoint::new(&[&old]);
    let server =
        Server::start(&[&["--device", "cpu", "--jwt-jwks", &endpoint.address][..], &ISSUER_AND_AUDIENCE].concat());
    endpoint.publish(&[&new]);
    let (requests, token, held) = (endpoint.requests(), new.token("kiln:predict", 60), endpoint.hold());
    let started = Instant::now();
    // Each client disconnects before the fetch that it caused completes.
    while endpoint.requests() == requests {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
        write!(stream, "GET /models HTTP/1.1\r\nHost: kiln\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_secs(60), "the keys are not fetched");
    }
    drop(held);
    let started = Instant::now();
    while bearer(&server, &token).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(4), "the fetched keys are lost");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(endpoint.requests(), requests + 1);
}

#[test]
fn changed_key_set_file_is_reloaded() {
    if !has("openssl") {
        return;
    }
    let (one, two) = (Key::new("one"), Key::new("two"));
    let key_set = |key: &Key| serde_json::json!({"keys": [key.public()]}).to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key_set(&one)).unwrap();
    let flags = ["--device", "cpu", "--log-level", "debug", "--jwt-jwks", file.path().to_str().unwrap()];
    let server = Server::start(&[&flags[..], &ISSUER_AND_AUDIENCE].concat());
    assert_eq!(bearer(&server, &one.token("kiln:predict", 60)).status, 200);
    std::fs::write(file.path(), key_set(&two)).unwrap();
    server.logged_until("reloaded the key set");
    assert_eq!(bearer(&server, &two.token("kiln:predict", 60)).status, 200);
    assert_eq!(bearer(&server, &one.token("kiln:predict", 60)).status, 401);
    std::fs::write(file.path(), "{}").unwrap();
    server.logged_until("cannot reload the key set; the previous keys stay in use");
    assert_eq!(bearer(&server, &two.token("kiln:predict", 60)).status, 200);
}

#[test]
fn incomplete_configuration_and_unreachable_endpoint_are_errors() {
    let start = |arguments: &[&str]| {
        let (status, _, stderr) =
            run_command(kiln().args(["--listen", "127.0.0.1:0", "--device", "cpu"]).args(arguments));
        (status, stderr)
    };
    let (status, text) = start(&["--jwt-jwks", "keys.json"]);
    assert!(status == 2 && text.contains("needs jwt-issuer and jwt-audience"), "{text}");
    let (status, text) = start(&["--jwt-issuer", "i", "--jwt-audience", "a"]);
    assert!(status == 2 && text.contains("needs jwt-jwks or jwt-secret"), "{text}");
    let (status, text) = start(&["--jwt-scope-map", "a=predict"]);
    assert!(status == 2 && text.contains("needs jwt-jwks or jwt-secret"), "{text}");
    let (status, text) = start(&["--jwt-scope-map", "a=root"]);
    assert!(status == 2 && text.contains("--jwt-scope-map 'a=root' is wrong: 'root' is not a scope"), "{text}");
    let (status, text) = start(&[&["--jwt-jwks", "http://id.example/jwks.json"][..], &ISSUER_AND_AUDIENCE].concat());
    assert!(status == 2 && text.contains("must be https"), "{text}");
    // No process listens on this port.
    let (status, text) = start(&[&["--jwt-jwks", "http://127.0.0.1:9/jwks.json"][..], &ISSUER_AND_AUDIENCE].concat());
    assert!(status == 1 && text.contains("http://127.0.0.1:9/jwks.json cannot be used"), "{text}");
}

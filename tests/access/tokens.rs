//! Tokens by RS256, with keys from a page and from a file.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Answer, KEY, Server, has, kiln, said};
use crate::provider::{Key, Page};
use crate::{predict, with_key};

const FOR_US: [&str; 4] = ["--jwt-issuer", "https://id.example", "--jwt-audience", "kiln"];

fn bearer(server: &Server, token: &str) -> Answer {
    predict(server, &[("Authorization", &format!("Bearer {token}"))])
}

#[test]
fn tokens_of_the_provider_open_what_their_scopes_say_beside_keys() {
    if !has("openssl") {
        return;
    }
    let (key, stranger) = (Key::new("one"), Key::new("one"));
    let page = Page::new(&[&key]);
    let server = Server::start(&[&["--device", "cpu", "--jwt-jwks", &page.address][..], &FOR_US].concat());
    assert_eq!(bearer(&server, &key.token("openid predict", 60)).top1(), 285);
    assert_eq!(bearer(&server, &key.token("openid metrics", 60)).code(), "scope_missing");
    let expired = bearer(&server, &key.token("predict", -60));
    assert_eq!((expired.status, expired.code().as_str()), (401, "token_invalid"));
    assert!(expired.text().contains("it has expired"), "{}", expired.text());
    assert!(expired.header("www-authenticate").unwrap().contains("invalid_token"));
    assert_eq!(bearer(&server, &stranger.token("predict", 60)).code(), "token_invalid");
    // Keys go on, either way.
    assert_eq!(with_key(&server, KEY).top1(), 285);
    assert_eq!(bearer(&server, KEY).top1(), 285);
    assert_eq!(with_key(&server, &key.token("predict", 60)).code(), "key_invalid", "a token is no key");
    let document = server.get_without_key("/openapi.json").json();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["ApiKey"]["name"], &schemes["Bearer"]["scheme"]), (&"X-API-Key".into(), &"bearer".into()));
    let either = document["paths"]["/predict"]["post"]["security"].as_array().unwrap();
    assert_eq!(either.len(), 2, "{either:?}");
    let metrics = server.get_without_key("/metrics").text();
    assert!(metrics.contains(r#"kiln_key_requests_total{key="token",outcome="ok"} 1"#), "{metrics}");
}

#[test]
fn a_new_key_of_the_provider_is_fetched_when_it_is_first_used_and_not_for_every_stranger() {
    if !has("openssl") {
        return;
    }
    let (old, new, stranger) = (Key::new("old"), Key::new("new"), Key::new("stranger"));
    let page = Page::new(&[&old]);
    let server = Server::start(&[&["--device", "cpu", "--jwt-jwks", &page.address][..], &FOR_US].concat());
    page.publish(&[&new]);
    let begun = Instant::now();
    // Keys were fetched at the start, and are not fetched again before some time has passed.
    while bearer(&server, &new.token("predict", 60)).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the new key is not taken");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(bearer(&server, &old.token("predict", 60)).code(), "token_invalid");
    let asked = page.asked();
    for _ in 0..10 {
        assert_eq!(bearer(&server, &stranger.token("predict", 60)).code(), "token_invalid");
    }
    assert!(page.asked() <= asked + 1, "strangers make the server ask {} times", page.asked() - asked);
}

#[test]
fn who_hangs_up_does_not_keep_the_server_from_learning_a_new_key() {
    if !has("openssl") {
        return;
    }
    let (old, new) = (Key::new("old"), Key::new("new"));
    let page = Page::new(&[&old]);
    let server = Server::start(&[&["--device", "cpu", "--jwt-jwks", &page.address][..], &FOR_US].concat());
    page.publish(&[&new]);
    let (asked, token, held) = (page.asked(), new.token("predict", 60), page.hold());
    let begun = Instant::now();
    // Some time has to pass before keys are fetched again. The one who makes the server do so is gone before they come.
    while page.asked() == asked {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
        write!(stream, "GET /models HTTP/1.1\r\nHost: kiln\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(begun.elapsed() < Duration::from_secs(60), "the keys are not fetched");
    }
    drop(held);
    let begun = Instant::now();
    while bearer(&server, &token).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(4), "what was fetched is lost");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(page.asked(), asked + 1);
}

#[test]
fn a_file_of_keys_is_followed() {
    if !has("openssl") {
        return;
    }
    let (one, two) = (Key::new("one"), Key::new("two"));
    let set = |key: &Key| serde_json::json!({"keys": [key.public()]}).to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), set(&one)).unwrap();
    let flags = ["--device", "cpu", "--log-level", "debug", "--jwt-jwks", file.path().to_str().unwrap()];
    let server = Server::start(&[&flags[..], &FOR_US].concat());
    assert_eq!(bearer(&server, &one.token("predict", 60)).status, 200);
    std::fs::write(file.path(), set(&two)).unwrap();
    server.logged_until("the key set was read");
    assert_eq!(bearer(&server, &two.token("predict", 60)).status, 200);
    assert_eq!(bearer(&server, &one.token("predict", 60)).status, 401);
    std::fs::write(file.path(), "{}").unwrap();
    server.logged_until("the last key set stays in use");
    assert_eq!(bearer(&server, &two.token("predict", 60)).status, 200);
}

#[test]
fn half_a_configuration_and_a_page_that_is_not_there_are_refused() {
    let told = |words: &[&str]| {
        let (status, _, complaint) = said(kiln().args(["--listen", "127.0.0.1:0", "--device", "cpu"]).args(words));
        (status, complaint)
    };
    let (status, text) = told(&["--jwt-jwks", "keys.json"]);
    assert!(status == 2 && text.contains("needs jwt-issuer and jwt-audience"), "{text}");
    let (status, text) = told(&["--jwt-issuer", "i", "--jwt-audience", "a"]);
    assert!(status == 2 && text.contains("needs jwt-jwks or jwt-secret"), "{text}");
    let (status, text) = told(&[&["--jwt-jwks", "http://id.example/jwks.json"][..], &FOR_US].concat());
    assert!(status == 2 && text.contains("must be https"), "{text}");
    // A port that nobody listens at.
    let (status, text) = told(&[&["--jwt-jwks", "http://127.0.0.1:9/jwks.json"][..], &FOR_US].concat());
    assert!(status == 1 && text.contains("http://127.0.0.1:9/jwks.json cannot be used"), "{text}");
}

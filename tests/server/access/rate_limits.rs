//! Request rates, queue shares, and the limit of failed authentications per client address.

use std::sync::Barrier;

use super::identity_provider::{JwksEndpoint, Key};
use super::{predict, serve, with_key};
use crate::common::{KEY, Server, has, key_file, keygen};

#[test]
fn rate_beyond_the_burst_returns_429_for_that_key_only() {
    let slow = keygen("slow", &["--requests-per-second", "0.01", "--burst", "2"]);
    let server = serve(&key_file(&[&slow]), &[]);
    for _ in 0..2 {
        assert_eq!(with_key(&server, &slow.key).status, 200);
    }
    let refused = with_key(&server, &slow.key);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_exceeded"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    assert_eq!(with_key(&server, KEY).status, 200);
}

#[test]
fn rate_of_tokens_is_limited_for_each_subject() {
    if !has("openssl") {
        return;
    }
    let key = Key::new("one");
    let endpoint = JwksEndpoint::new(&[&key]);
    let provider =
        ["--jwt-jwks", endpoint.address.as_str(), "--jwt-issuer", "https://id.example", "--jwt-audience", "kiln"];
    let flags = ["--device", "cpu", "--jwt-rate", "0.01", "--jwt-burst", "2"];
    let server = Server::start(&[&flags[..], &provider].concat());
    let send = |subject: &str, seconds| {
        let token = key.token_of(subject, "kiln:predict", seconds);
        predict(&server, &[("Authorization", &format!("Bearer {token}"))])
    };
    assert_eq!((send("alice", 60).status, send("alice", 90).status), (200, 200));
    let refused = send("alice", 120);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_exceeded"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((90..=100).contains(&wait), "{wait}");
    assert_eq!((send("bob", 60).status, with_key(&server, KEY).status), (200, 200));
    let metrics = server.get_without_key("/metrics").text();
    for line in [
        r#"kiln_key_requests_total{key="token",outcome="ok"} 3"#,
        r#"kiln_key_requests_total{key="token",outcome="rate_exceeded"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn queue_share_of_a_key_is_limited() {
    let bulk = keygen("bulk", &["--queue-share", "0.1", "--priority", "low"]);
    // The key may use one of ten places. Requests that arrive together wait in the queue for the delay.
    let server =
        serve(&key_file(&[&bulk]), &["--queue-capacity", "10", "--max-queue-delay", "2s", "--max-batch-size", "8"]);
    let start = Barrier::new(4);
    let statuses: Vec<(u16, String)> = std::thread::scope(|scope| {
        let send = || {
            start.wait();
            let answer = with_key(&server, &bulk.key);
            (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let served = statuses.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!(served, 1, "{statuses:?}");
    assert!(statuses.contains(&(429, "queue_share_full".to_string())), "{statuses:?}");
    assert_eq!(with_key(&server, KEY).status, 200);
}

#[test]
fn failed_authentications_block_the_address_behind_a_trusted_proxy() {
    let app = keygen("app", &[]);
    let flags = ["--max-auth-failures", "3", "--trusted-proxy", "127.0.0.0/8"];
    let server = serve(&key_file(&[&app]), &flags);
    let from = |server: &Server, address: &str, key: &str| {
        predict(server, &[("X-API-Key", key), ("X-Forwarded-For", address)])
    };
    for _ in 0..3 {
        assert_eq!(from(&server, "192.0.2.1", "wrong").code(), "key_invalid");
    }
    let refused = from(&server, "192.0.2.1", "wrong");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_failures"));
    assert!(refused.header("retry-after").is_some());
    // A blocked address learns nothing: a valid key is refused too.
    assert_eq!(from(&server, "192.0.2.1", &app.key).code(), "too_many_failures");
    assert_eq!(
        from(&server, "203.0.113.9, 192.0.2.1", &app.key).status,
        429,
        "the entry that the client wrote was trusted"
    );
    assert_eq!(from(&server, "192.0.2.1, 203.0.113.9", &app.key).status, 200);
    // Failures on an address that also sends valid keys do not block those keys.
    for _ in 0..5 {
        assert_ne!(from(&server, "203.0.113.9", "wrong").status, 200);
    }
    assert_eq!(from(&server, "203.0.113.9", &app.key).status, 200);
}

#[test]
fn forwarding_headers_are_ignored_without_a_trusted_proxy() {
    let server = serve(&key_file(&[]), &["--max-auth-failures", "2"]);
    for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        predict(&server, &[("X-API-Key", "wrong"), ("X-Forwarded-For", address), ("Forwarded", "for=192.0.2.9")]);
    }
    assert_eq!(with_key(&server, "wrong").code(), "too_many_failures");
}

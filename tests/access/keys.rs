//! Keys of a file: what each opens, and how they come and go while requests go on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::common::{KEY, Stop, key_file, keygen, kiln, said, write_keys};
use crate::{get, serve, with_key};

#[test]
fn a_key_opens_what_its_scopes_say_and_nothing_else() {
    let (app, prometheus) = (keygen("app", &[]), keygen("prometheus", &["--scope", "metrics"]));
    let gone = keygen("gone", &["--expires", "2020-01-01"]);
    let server = serve(&key_file(&[&app, &prometheus, &gone]), &["--metrics-auth"]);
    assert_eq!(with_key(&server, &app.key).top1(), 285);
    assert_eq!(with_key(&server, KEY).top1(), 285, "the server's own key holds beside the file's");
    let refused = with_key(&server, &prometheus.key);
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_scope"));
    assert!(refused.json()["error"].as_str().unwrap().contains("'predict'"), "{}", refused.text());
    let expired = with_key(&server, &gone.key);
    assert_eq!((expired.status, expired.code().as_str()), (401, "key_expired"));
    assert!(expired.header("www-authenticate").unwrap().contains("invalid_token"));
    for (key, metrics, models) in [(&app.key, 403, 200), (&prometheus.key, 200, 200), (&gone.key, 401, 401)] {
        assert_eq!(get(&server, "/metrics", key).status, metrics);
        assert_eq!(get(&server, "/models", key).status, models);
    }
    assert_eq!(server.get_without_key("/metrics").code(), "key_missing");
    assert_eq!(server.get_without_key("/health/ready").status, 200);
    let metrics = server.get("/metrics").text();
    for line in [
        r#"kiln_key_requests_total{key="app",outcome="ok"}"#,
        r#"kiln_key_requests_total{key="prometheus",outcome="scope_missing"} 1"#,
        r#"kiln_key_requests_total{key="default",outcome="ok"}"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[test]
fn keys_are_exchanged_under_load_without_a_failed_request() {
    let (stays, comes, goes) = (keygen("stays", &[]), keygen("comes", &[]), keygen("goes", &[]));
    let keys = key_file(&[&stays, &goes]);
    let server = serve(&keys, &[]);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(with_key(&server, &stays.key).status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stopper = Stop(&stop);
        write_keys(&keys, &[&stays, &comes]);
        server.logged_until("the key file was read");
        assert_eq!(with_key(&server, &comes.key).status, 200);
        assert_eq!(with_key(&server, &goes.key).code(), "key_invalid");
        // What is broken is not taken, and it is said why.
        std::fs::write(keys.path(), "[[key]]\nid = \"x\"\nhash = 5\n").unwrap();
        let lines = server.logged_until("the last keys stay in use");
        assert!(lines.iter().any(|line| line.contains("line 3: invalid type")), "{lines:#?}");
        assert_eq!(with_key(&server, &comes.key).status, 200);
        drop(stopper);
    });
    assert!(answered.load(Ordering::Relaxed) >= 4);
}

#[test]
fn an_administrator_learns_at_once_whether_the_file_is_taken() {
    let (app, chief) = (keygen("app", &[]), keygen("chief", &["--scope", "admin,predict"]));
    let keys = key_file(&[&app, &chief]);
    let server = serve(&keys, &[]);
    let reload = |key: &str| server.post("/keys/reload", &[("X-API-Key", key)], b"");
    assert_eq!(reload(&app.key).code(), "scope_missing");
    assert_eq!(reload(&chief.key).json()["keys"], 2);
    std::fs::write(keys.path(), "rubbish").unwrap();
    let refused = reload(&chief.key);
    assert_eq!((refused.status, refused.code().as_str()), (409, "key_file_refused"));
    assert!(refused.text().contains("line 1"), "{}", refused.text());
    write_keys(&keys, &[&chief]);
    assert_eq!(reload(&chief.key).json()["keys"], 1);
    assert_eq!(with_key(&server, &app.key).code(), "key_invalid");
}

#[test]
fn a_server_with_a_broken_key_file_does_not_start() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "[[key]]\nid = \"app\"\n").unwrap();
    for words in [&["serve"][..], &["config", "check"]] {
        let (status, _, complaint) = said(kiln().args(words).arg("--keys").arg(keys.path()));
        assert!(status == 2 && complaint.contains("missing field `hash`"), "{complaint}");
    }
}

//! Keys in a key file: scopes, expiry, and replacement while requests are served.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{get, serve, with_key};
use crate::common::{KEY, Stop, key_file, keygen, kiln, run_command, write_keys};

#[test]
fn key_grants_exactly_its_scopes_until_it_expires() {
    let (app, prometheus) = (keygen("app", &[]), keygen("prometheus", &["--scope", "metrics"]));
    let old = keygen("old", &["--expires", "2020-01-01"]);
    let server = serve(&key_file(&[&app, &prometheus, &old]), &["--metrics-auth"]);
    assert_eq!(with_key(&server, &app.key).top1(), 285);
    assert_eq!(with_key(&server, KEY).top1(), 285, "the key of the environment is valid beside the file");
    let refused = with_key(&server, &prometheus.key);
    assert_eq!((refused.status, refused.code().as_str()), (403, "scope_missing"));
    assert!(refused.header("www-authenticate").unwrap().contains("insufficient_scope"));
    assert!(refused.json()["error"].as_str().unwrap().contains("'predict'"), "{}", refused.text());
    let expired = with_key(&server, &old.key);
    assert_eq!((expired.status, expired.code().as_str()), (401, "key_expired"));
    assert!(expired.header("www-authenticate").unwrap().contains("invalid_token"));
    for (key, metrics, models) in [(&app.key, 403, 200), (&prometheus.key, 200, 200), (&old.key, 401, 401)] {
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
fn key_file_is_reloaded_under_load_without_a_failed_request() {
    let (kept, added, removed) = (keygen("kept", &[]), keygen("added", &[]), keygen("removed", &[]));
    let keys = key_file(&[&kept, &removed]);
    let server = serve(&keys, &[]);
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(with_key(&server, &kept.key).status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stopper = Stop(&stop);
        write_keys(&keys, &[&kept, &added]);
        server.logged_until("reloaded the key file");
        assert_eq!(with_key(&server, &added.key).status, 200);
        assert_eq!(with_key(&server, &removed.key).code(), "key_invalid");
        // An invalid file is not loaded, and the log says why.
        std::fs::write(keys.path(), "[[key]]\nid = \"x\"\nhash = 5\n").unwrap();
        let lines = server.logged_until("cannot reload the key file; the previous keys stay in use");
        assert!(lines.iter().any(|line| line.contains("line 3: invalid type")), "{lines:#?}");
        assert_eq!(with_key(&server, &added.key).status, 200);
        drop(stopper);
    });
    assert!(answered.load(Ordering::Relaxed) >= 4);
}

#[test]
fn reload_operation_reports_whether_the_key_file_was_loaded() {
    let (app, admin) = (keygen("app", &[]), keygen("admin", &["--scope", "admin,predict"]));
    let keys = key_file(&[&app, &admin]);
    let server = serve(&keys, &[]);
    let reload = |key: &str| server.post("/keys/reload", &[("X-API-Key", key)], b"");
    assert_eq!(reload(&app.key).code(), "scope_missing");
    assert_eq!(reload(&admin.key).json()["keys"], 2);
    std::fs::write(keys.path(), "rubbish").unwrap();
    let refused = reload(&admin.key);
    assert_eq!((refused.status, refused.code().as_str()), (409, "key_file_refused"));
    assert!(refused.text().contains("line 1"), "{}", refused.text());
    write_keys(&keys, &[&admin]);
    assert_eq!(reload(&admin.key).json()["keys"], 1);
    assert_eq!(with_key(&server, &app.key).code(), "key_invalid");
}

#[test]
fn invalid_key_file_prevents_the_start() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), "[[key]]\nid = \"app\"\n").unwrap();
    for command in [&["serve"][..], &["config", "check"]] {
        let (status, _, stderr) = run_command(kiln().args(command).arg("--keys").arg(keys.path()));
        assert!(status == 2 && stderr.contains("missing field `hash`"), "{stderr}");
    }
}

//! Canary versions, which answer a share of the requests, and shadow versions, which are only compared.

use super::store_folder::{StoreFolder, until, until_served};
use super::weights::{NAME, favouring, model};
use crate::common::bytes;

const PHOTO: &str = "photos/cat_451x300.jpg";

#[test]
fn canary_answers_its_share_and_explicit_requests() {
    let folder = StoreFolder::new();
    folder.add(7);
    folder.models(&["canary", NAME, "2", "--share", "25%"]);
    let server = folder.serve();
    until_served(&server, &[("1", &["stable"]), ("2", &["canary"])]);
    let photo = bytes(PHOTO);
    let top = |path: &str| {
        let answer = server.raw(path, &photo);
        (answer.json()["model"]["version"].as_str().unwrap().to_string(), answer.top1())
    };
    let answers: Vec<_> = (0..20).map(|_| top("/predict/raw")).collect();
    let of_canary: Vec<_> = answers.iter().filter(|(version, _)| version == "2").collect();
    assert_eq!(of_canary.len(), 5, "{answers:?}");
    assert!(of_canary.iter().all(|(_, class)| *class == 7), "{answers:?}");
    assert!(answers.iter().filter(|(version, _)| version == "1").all(|(_, class)| (281..=285).contains(class)));
    for (asked, version) in [("stable", "1"), ("1", "1"), ("canary", "2"), ("2", "2")] {
        assert_eq!(top(&format!("/predict/raw?version={asked}")).0, version, "{asked}");
    }
    // The Open Inference Protocol lists both versions.
    let models = |path: &str| server.get(&format!("/v2/models/{NAME}{path}")).json();
    assert_eq!(models("")["versions"].as_array().unwrap().len(), 2);
    let stats = models("/stats");
    let counts: Vec<_> = stats["model_stats"].as_array().unwrap().iter().map(|each| each["version"].clone()).collect();
    assert_eq!(counts, ["1", "2"]);
    assert_eq!(models("/versions/2/stats")["model_stats"][0]["inference_count"], 7);
    assert_eq!(models("/versions/2/ready")["ready"], true);
    let digests: Vec<_> = server.get("/models").json()["models"][0]["versions"].as_array().unwrap().clone();
    assert_eq!(digests[0]["digest"], model().digest());
    assert_ne!(digests[1]["digest"], digests[0]["digest"]);
    folder.models(&["canary", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
    assert!((0..8).all(|_| top("/predict/raw").0 == "1"));
    assert_eq!(server.raw("/predict/raw?version=canary", &photo).code(), "unknown_version");
}

#[test]
fn shadow_is_compared_and_answers_no_request() {
    let folder = StoreFolder::new();
    folder.add(7);
    // Version 3 has practically the same weights.
    let similar = folder.file("similar.bpk", &favouring(999, 0.001));
    assert!(folder.models(&["add", NAME, similar.to_str().unwrap()]).contains("efficientnet-lite0 3 is in the store"));
    let server = folder.serve();
    let photo = bytes(PHOTO);
    let compared = |version: &str, agrees: &str| {
        server
            .metric("kiln_shadow_compared_total", &[&format!("version=\"{version}\""), &format!("agrees=\"{agrees}\"")])
    };
    for (version, agrees, other) in [("2", "no", "yes"), ("3", "yes", "no")] {
        folder.models(&["shadow", NAME, version]);
        until_served(&server, &[("1", &["stable"]), (version, &["shadow"])]);
        until(&server, "some comparisons", || {
            let answer = server.raw("/predict/raw", &photo);
            assert_eq!(answer.json()["model"]["version"], "1", "{}", answer.text());
            assert!((281..=285).contains(&answer.top1()));
            compared(version, agrees) >= 3.0
        });
        assert_eq!(compared(version, other), 0.0);
    }
    folder.models(&["shadow", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
}

#[test]
fn cached_answers_are_not_used_for_another_version() {
    let folder = StoreFolder::new();
    folder.add(7);
    let server = folder.serve_on(&["--device", "cpu", "--cache-bytes", "1MiB"]);
    let photo = bytes(PHOTO);
    let top = || server.raw("/predict/raw", &photo).top1();
    assert!((0..3).all(|_| (281..=285).contains(&top())));
    for (version, classes) in [("2", 7..=7), ("1", 281..=285)] {
        folder.models(&["promote", NAME, version]);
        until_served(&server, &[(version, &["stable"])]);
        assert!((0..3).all(|_| classes.contains(&top())), "{version}");
    }
    assert!(server.metric("kiln_cache_requests_total", &[r#"outcome="hit""#]) >= 7.0);
}

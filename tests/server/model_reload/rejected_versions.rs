//! Invalid versions: the server logs each once, does not load it, and keeps serving the current version.

use kiln_inference::model::Weights;

use super::store_folder::{StoreFolder, until, until_served};
use super::weights::{NAME, favouring, model, predicting};
use crate::common::{Server, bytes, kiln, run_command};

/// Adds versions 2 to 6, each with another fault. Returns each version with the expected reason.
fn add_faulty(folder: &StoreFolder) -> [(&'static str, &'static str); 5] {
    let store = folder.store();
    let add = |weights: &Weights, reference: Option<&[f32]>| store.add(&model(), weights, "a test", reference).unwrap();
    let file = favouring(7, 100.0);
    add(&Weights::new(file[..file.len() / 2].to_vec()), None);
    add(&Weights::new(b"NRUB, but no more than that".to_vec()), None);
    // Version 4: the file changed after it was added.
    let changed = add(&predicting(7), None);
    let path = folder.path().join(NAME).join(changed).join("weights.bpk");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // Version 5: the reference logits do not match.
    add(&predicting(7), Some(&vec![0.0; 1000]));
    // Version 6: the logits are not finite.
    add(&Weights::new(favouring(7, f32::INFINITY)), None);
    [
        ("2", "not a complete Burnpack file"),
        ("3", "not a complete Burnpack file"),
        ("4", "has changed since it was added"),
        ("5", "the logits of the self-test are off"),
        ("6", "not finite"),
    ]
}

fn refused(server: &Server) -> f64 {
    server.metric("kiln_model_reloads_total", &[r#"outcome="refused""#])
}

#[test]
fn invalid_version_is_rejected_once_and_the_current_one_keeps_serving() {
    let folder = StoreFolder::new();
    let faults = add_faulty(&folder);
    folder.add(8);
    let server = folder.serve();
    let photo = bytes("photos/cat_451x300.jpg");
    for (index, (version, reason)) in faults.into_iter().enumerate() {
        folder.make_stable(version);
        let lines = server.logged_until("cannot load model version");
        let line = lines.last().unwrap();
        assert!(line.contains(reason) && line.contains(&format!("\"version\":\"{version}\"")), "{line}");
        until(&server, "the rejection to be counted", || refused(&server) == index as f64 + 1.0);
        assert_eq!(server.get("/health/ready").status, 200);
        let answer = server.raw("/predict/raw", &photo);
        assert_eq!(answer.json()["model"]["version"], "1", "{}", answer.text());
    }
    // An invalid canary serves no request either.
    folder.models(&["promote", NAME, "1"]);
    folder.models(&["canary", NAME, "6", "--share", "100%"]);
    server.logged_until("cannot load model version");
    assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    // The rejection is logged once, not at each poll. Two label changes of another version prove that polls happened.
    folder.models(&["shadow", NAME, "7"]);
    until_served(&server, &[("1", &["stable"]), ("7", &["shadow"])]);
    folder.models(&["shadow", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
    let again =
        server.logged().into_iter().filter(|line| line.contains("cannot load model version")).collect::<Vec<_>>();
    assert_eq!(again, Vec::<String>::new());
    // An unreadable label file changes nothing.
    std::fs::write(folder.path().join(NAME).join("labels.toml"), "stable = 2").unwrap();
    server.logged_until("cannot read model labels");
    assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    std::fs::remove_file(folder.path().join(NAME).join("labels.toml")).unwrap();
    // The next valid version is loaded.
    folder.models(&["promote", NAME, "7"]);
    until_served(&server, &[("7", &["stable"])]);
    assert_eq!(server.raw("/predict/raw", &photo).top1(), 8);
}

#[test]
fn damaged_version_cannot_be_labelled() {
    let folder = StoreFolder::new();
    let damaged = add_faulty(&folder)[2].0;
    for arguments in [&["promote", NAME, damaged][..], &["canary", NAME, damaged], &["shadow", NAME, damaged]] {
        let (status, stdout, stderr) = folder.try_models(arguments);
        assert_eq!((status, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(stderr.contains("has changed since it was added"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn invalid_stable_version_prevents_the_start() {
    let folder = StoreFolder::new();
    for (version, reason) in add_faulty(&folder) {
        folder.make_stable(version);
        let store = folder.path().to_str().unwrap();
        let arguments = ["--listen", "127.0.0.1:0", "--device", "cpu", "--model-store", store];
        let (status, _, stderr) = run_command(kiln().args(arguments));
        assert_eq!(status, 1, "{stderr}");
        let message = stderr.lines().last().unwrap();
        let cause = format!("its stable version '{version}' cannot be used: ");
        for part in [reason, cause.as_str(), "kiln models rollback efficientnet-lite0"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

//! Versions that do not do: they stay out, which is told once, and the server goes on with what it had.

use kiln_inference::model::Weights;

use crate::common::{Server, bytes, kiln, said};
use crate::folder::{Folder, until, until_served};
use crate::weights::{NAME, favouring, model, version};

/// Versions 2 to 6, each with another fault.
fn faulty(folder: &Folder) -> [(&'static str, &'static str); 5] {
    let store = folder.store();
    let add = |weights: &Weights, golden: Option<&[f32]>| store.add(&model(), weights, "a test", golden).unwrap();
    let file = favouring(7, 100.0);
    add(&Weights::new(file[..file.len() / 2].to_vec()), None);
    add(&Weights::new(b"NRUB, but no more than that".to_vec()), None);
    // The file is another one than was added.
    let changed = add(&version(7), None);
    let path = folder.path().join(NAME).join(changed).join("weights.bpk");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    // It computes something else than it did when it was added.
    add(&version(7), Some(&vec![0.0; 1000]));
    // Its logits are not finite.
    add(&Weights::new(favouring(7, f32::INFINITY)), None);
    [
        ("2", "not a complete Burnpack file"),
        ("3", "not a complete Burnpack file"),
        ("4", "has changed since it was added"),
        ("5", "the canary's logits are off"),
        ("6", "not finite"),
    ]
}

fn refused(server: &Server) -> f64 {
    server.metric("kiln_model_reloads_total", &[r#"outcome="refused""#])
}

#[test]
fn a_version_that_does_not_do_stays_out_and_what_was_served_goes_on() {
    let folder = Folder::new();
    let faults = faulty(&folder);
    folder.add(8);
    let server = folder.serve();
    let photo = bytes("photos/cat_451x300.jpg");
    for (told, (version, reason)) in faults.into_iter().enumerate() {
        folder.make_stable(version);
        let lines = server.logged_until("a version stays out");
        let line = lines.last().unwrap();
        assert!(line.contains(reason) && line.contains(&format!("\"version\":\"{version}\"")), "{line}");
        until(&server, "a count of it", || refused(&server) == told as f64 + 1.0);
        assert_eq!(server.get("/health/ready").status, 200);
        let answer = server.raw("/predict/raw", &photo);
        assert_eq!(answer.json()["model"]["version"], "1", "{}", answer.text());
    }
    // As a canary it gets nobody's picture either.
    folder.models(&["promote", NAME, "1"]);
    folder.models(&["canary", NAME, "6", "--share", "100%"]);
    server.logged_until("a version stays out");
    assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    // Told once, not at each look: another version's labels, which it takes at such looks, come and go meanwhile.
    folder.models(&["shadow", NAME, "7"]);
    until_served(&server, &[("1", &["stable"]), ("7", &["shadow"])]);
    folder.models(&["shadow", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
    let again = server.logged().into_iter().filter(|line| line.contains("stays out")).collect::<Vec<_>>();
    assert_eq!(again, Vec::<String>::new());
    // Labels that nobody can read change nothing.
    std::fs::write(folder.path().join(NAME).join("labels.toml"), "stable = 2").unwrap();
    server.logged_until("labels are not followed");
    assert_eq!(server.raw("/predict/raw", &photo).json()["model"]["version"], "1");
    std::fs::remove_file(folder.path().join(NAME).join("labels.toml")).unwrap();
    // And the next good one is taken.
    folder.models(&["promote", NAME, "7"]);
    until_served(&server, &[("7", &["stable"])]);
    assert_eq!(server.raw("/predict/raw", &photo).top1(), 8);
}

#[test]
fn what_is_damaged_gets_no_label_by_a_command() {
    let folder = Folder::new();
    let damaged = faulty(&folder)[2].0;
    for words in [&["promote", NAME, damaged][..], &["canary", NAME, damaged], &["shadow", NAME, damaged]] {
        let (status, said, complaint) = folder.try_models(words);
        assert_eq!((status, said.as_str()), (1, ""), "{words:?}");
        assert!(complaint.contains("has changed since it was added"), "{words:?}: {complaint}");
    }
}

#[test]
fn a_server_whose_stable_version_does_not_do_does_not_start() {
    let folder = Folder::new();
    for (version, reason) in faulty(&folder) {
        folder.make_stable(version);
        let store = folder.path().to_str().unwrap();
        let words = ["--listen", "127.0.0.1:0", "--device", "cpu", "--model-store", store];
        let (status, _, complaint) = said(kiln().args(words));
        assert_eq!(status, 1, "{complaint}");
        let sentence = complaint.lines().last().unwrap();
        for part in [reason, "its stable version is", "kiln models rollback efficientnet-lite0"] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

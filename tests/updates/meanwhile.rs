//! What happens while a version is being loaded: labels that are taken back, and a canary that breaks.

use crate::broken::{PHOTO, breaking_at_the_photo};
use crate::common::{Server, bytes};
use crate::folder::{Folder, until_served};
use crate::weights::{NAME, model};

/// Warm-ups of many pictures, so that a load takes longer than what is done meanwhile.
const SLOW: [&str; 6] = ["--device", "cpu", "--threads", "1", "--max-batch-size", "32"];

/// A server on which a load has just begun, by what `label` did.
fn loading(folder: &Folder, served: &[(&str, &[&str])], label: impl FnOnce()) -> Server {
    let server = folder.serve_on(&SLOW);
    until_served(&server, served);
    server.logged();
    label();
    server.logged_until("warming up");
    server
}

#[test]
fn a_rollback_while_the_version_loads_is_in_time() {
    let folder = Folder::new();
    folder.add(7);
    let server = loading(&folder, &[("1", &["stable"])], || {
        folder.store().promote(&model(), "2").unwrap();
    });
    folder.store().roll_back(&model()).unwrap();
    let lines = server.logged_until("a version is unloaded");
    assert!(lines.iter().any(|line| line.contains("engine started")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("versions changed")), "{lines:#?}");
    until_served(&server, &[("1", &["stable"])]);
}

#[test]
fn a_canary_that_breaks_is_taken_out_while_another_version_loads_and_stays_out() {
    let folder = Folder::new();
    folder.store().add(&model(), &kiln_inference::model::Weights::new(breaking_at_the_photo()), "a test", None).unwrap();
    folder.add(7);
    folder.models(&["canary", NAME, "2", "--share", "50%"]);
    let server = loading(&folder, &[("1", &["stable"]), ("2", &["canary"])], || {
        folder.store().set_shadow(&model(), Some("3")).unwrap();
    });
    assert_eq!(server.raw("/predict/raw?version=canary", &bytes(PHOTO)).code(), "internal_error");
    let mut lines = server.logged_until("a version broke");
    assert!(!lines.iter().any(|line| line.contains("engine started")), "it had to wait: {lines:#?}");
    until_served(&server, &[("1", &["stable"]), ("3", &["shadow"])]);
    // Labels of others change, and nobody gets its answers for that.
    folder.models(&["shadow", NAME, "--off"]);
    until_served(&server, &[("1", &["stable"])]);
    folder.models(&["shadow", NAME, "3"]);
    until_served(&server, &[("1", &["stable"]), ("3", &["shadow"])]);
    lines.extend(server.logged());
    let started = |line: &&String| line.contains("engine started") && line.contains("\"version\":\"2\"");
    assert_eq!(lines.iter().filter(started).count(), 0, "{lines:#?}");
}

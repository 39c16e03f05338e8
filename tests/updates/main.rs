//! Versions with other weights come and go while clients ask: no request fails, each is answered by a version that may answer
//! then, with that version's weights. What does not do stays out.
#![forbid(unsafe_code)]

mod broken;
mod clients;
#[path = "../common/mod.rs"]
mod common;
mod devices;
mod folder;
mod meanwhile;
mod refused;
mod tried;
mod weights;
mod words;

use clients::Clients;
use common::{Stop, bytes};
use folder::{Folder, until, until_served};
use weights::NAME;

const CLIENTS: usize = 4;
const OF_MODEL: &str = r#"model="efficientnet-lite0""#;

/// The cat's own class, or the one that a version favours.
fn wins(version: &str) -> std::ops::RangeInclusive<u64> {
    match version {
        "1" => 281..=285,
        "2" => 7..=7,
        "3" => 8..=8,
        _ => panic!("{version} was never added"),
    }
}

#[test]
fn under_load_versions_are_exchanged_and_nobody_notices_but_by_the_answers() {
    let folder = Folder::new();
    assert_eq!((folder.add(7), folder.add(8)), ("2".to_string(), "3".to_string()));
    let server = folder.serve();
    let clients = Clients::new(&server, wins);
    std::thread::scope(|scope| {
        let stop = Stop(&clients.over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let _stop = Stop(&clients.over);
                clients.ask();
            });
        }
        clients.may_answer(&["1"], &["1"], || ());
        clients.may_answer(&["1", "2"], &["2"], || {
            folder.models(&["promote", NAME, "2"]);
            until_served(&server, &[("2", &["stable"])]);
        });
        clients.may_answer(&["2", "3"], &["3"], || {
            folder.models(&["promote", NAME, "3"]);
            until_served(&server, &[("3", &["stable"])]);
        });
        clients.may_answer(&["3", "2"], &["2"], || {
            folder.models(&["rollback", NAME]);
            until_served(&server, &[("2", &["stable"])]);
        });
        // Each change takes in one more version, or lets one go.
        clients.may_answer(&["2", "3"], &["2", "3"], || {
            folder.models(&["canary", NAME, "3", "--share", "50%"]);
            until_served(&server, &[("2", &["stable"]), ("3", &["canary"])]);
        });
        clients.may_answer(&["2", "3"], &["3"], || {
            folder.models(&["promote", NAME, "3"]);
            until_served(&server, &[("3", &["stable"])]);
        });
        clients.may_answer(&["3", "1"], &["1"], || {
            folder.models(&["promote", NAME, "1"]);
            until_served(&server, &[("1", &["stable"])]);
        });
        drop(stop);
    });
    println!("answers by version: {:?}", clients.answers());
    // What nobody asks for any more takes nothing.
    until(&server, "one version's engines", || {
        let engines = server.metric("kiln_engines", &[OF_MODEL]);
        engines >= 1.0 && server.metric("kiln_queue_capacity", &[OF_MODEL]) == 256.0
    });
    assert_eq!(server.metric("kiln_inflight_images", &[OF_MODEL]), 0.0);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="swapped""#]), 5.0);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="refused""#]), 0.0);
    assert_eq!(server.metric("kiln_model_version_info", &[]), 1.0);
    assert_eq!(server.metric("kiln_model_version_info", &[r#"version="1""#, r#"label="stable""#]), 1.0);
    // Each version's own counts go on where they were when it comes again.
    let answers: f64 = clients.answers().values().map(|answers| *answers as f64).sum();
    assert_eq!(server.metric("nv_inference_request_success", &[OF_MODEL]), answers);
    assert_eq!(server.metric("nv_inference_request_failure", &[OF_MODEL]), 0.0);
    let gone = server.raw("/predict/raw?version=3", &bytes("photos/cat_451x300.jpg"));
    assert_eq!((gone.status, gone.code().as_str()), (404, "unknown_version"));
    assert!(gone.text().contains("it has '1'"), "{}", gone.text());
    server.terminate();
    assert!(server.wait().success());
}

//! Model versions change while clients send requests: no request fails, and each is answered by a labelled version with the
//! weights of that version. Invalid versions are not loaded.

mod canary_and_shadow;
mod clients;
mod failing_versions;
mod models_command;
mod rejected_versions;
mod store_folder;
mod weights;

use crate::common::{Stop, bytes, has_vulkan};
use clients::Clients;
use store_folder::{StoreFolder, until, until_served};
use weights::{NAME, favouring};

const CLIENTS: usize = 4;
const OF_MODEL: &str = r#"model="efficientnet-lite0""#;

/// Returns the classes that a version may predict for the photo of a cat.
fn expected_classes(version: &str) -> std::ops::RangeInclusive<u64> {
    match version {
        "1" => 281..=285,
        "2" => 7..=7,
        "3" => 8..=8,
        _ => panic!("{version} was never added"),
    }
}

#[test]
fn versions_change_under_load_without_a_failed_request() {
    let folder = StoreFolder::new();
    assert_eq!((folder.add(7), folder.add(8)), ("2".to_string(), "3".to_string()));
    let server = folder.serve();
    let clients = Clients::new(&server, expected_classes);
    std::thread::scope(|scope| {
        let stop = Stop(&clients.stopped);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let _stop = Stop(&clients.stopped);
                clients.run();
            });
        }
        clients.allow(&["1"], &["1"], || ());
        clients.allow(&["1", "2"], &["2"], || {
            folder.models(&["promote", NAME, "2"]);
            until_served(&server, &[("2", &["stable"])]);
        });
        clients.allow(&["2", "3"], &["3"], || {
            folder.models(&["promote", NAME, "3"]);
            until_served(&server, &[("3", &["stable"])]);
        });
        clients.allow(&["3", "2"], &["2"], || {
            folder.models(&["rollback", NAME]);
            until_served(&server, &[("2", &["stable"])]);
        });
        // Each change loads one version or unloads one.
        clients.allow(&["2", "3"], &["2", "3"], || {
            folder.models(&["canary", NAME, "3", "--share", "50%"]);
            until_served(&server, &[("2", &["stable"]), ("3", &["canary"])]);
        });
        clients.allow(&["2", "3"], &["3"], || {
            folder.models(&["promote", NAME, "3"]);
            until_served(&server, &[("3", &["stable"])]);
        });
        clients.allow(&["3", "1"], &["1"], || {
            folder.models(&["promote", NAME, "1"]);
            until_served(&server, &[("1", &["stable"])]);
        });
        drop(stop);
    });
    println!("answers by version: {:?}", clients.answers());
    // Unloaded versions hold no resources.
    until(&server, "the engines of one version", || {
        let engines = server.metric("kiln_engines", &[OF_MODEL]);
        engines >= 1.0 && server.metric("kiln_queue_capacity", &[OF_MODEL]) == 256.0
    });
    assert_eq!(server.metric("kiln_inflight_images", &[OF_MODEL]), 0.0);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="swapped""#]), 5.0);
    assert_eq!(server.metric("kiln_model_reloads_total", &[r#"outcome="refused""#]), 0.0);
    assert_eq!(server.metric("kiln_model_version_info", &[]), 1.0);
    assert_eq!(server.metric("kiln_model_version_info", &[r#"version="1""#, r#"label="stable""#]), 1.0);
    // The counters of a version continue when it is loaded again. Unloaded versions have none.
    let answers = clients.answers();
    assert!(answers["2"] > 0 && answers["3"] > 0, "{answers:?}");
    assert_eq!(server.metric("nv_inference_request_success", &[OF_MODEL]), answers["1"] as f64);
    assert_eq!(server.metric("nv_inference_request_failure", &[OF_MODEL]), 0.0);
    let gone = server.raw("/predict/raw?version=3", &bytes("photos/cat_451x300.jpg"));
    assert_eq!((gone.status, gone.code().as_str()), (404, "unknown_version"));
    assert!(gone.text().contains("it has '1'"), "{}", gone.text());
    server.terminate();
    assert!(server.wait().success());
}

#[test]
fn every_device_loads_the_promoted_version() {
    if !has_vulkan() {
        return;
    }
    let folder = StoreFolder::new();
    let file = folder.file("other.bpk", &favouring(7, 100.0));
    // `add` stores the reference logits of the CPU, with which the adapter is compared.
    folder.models(&["add", NAME, file.to_str().unwrap()]);
    let server =
        folder.serve_on(&["--device", "cpu,vulkan", "--kernels", "fused", "--max-batch-size", "1", "--threads", "1"]);
    let photo = bytes("photos/cat_451x300.jpg");
    let tops = || -> Vec<u64> {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..12).map(|_| scope.spawn(|| server.raw("/predict/raw", &photo).top1())).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        })
    };
    assert!(tops().iter().all(|class| (281..=285).contains(class)));
    for (version, class) in [("2", 7..=7), ("1", 281..=285)] {
        folder.models(&["promote", NAME, version]);
        until_served(&server, &[(version, &["stable"])]);
        let tops = tops();
        assert!(tops.iter().all(|top| class.contains(top)), "{version}: {tops:?}");
    }
}

//! The same on a GPU, and on several devices at once: each of them has to prove a version before it answers anybody.

use crate::common::{self, bytes};
use crate::folder::{Folder, until_served};
use crate::weights::{NAME, favouring};

#[test]
fn every_device_takes_the_next_version() {
    if !common::has_vulkan() {
        return;
    }
    let folder = Folder::new();
    let file = folder.file("other.bpk", &favouring(7, 100.0));
    // With the logits that the CPU gives, to which the adapter is held.
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

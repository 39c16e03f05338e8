//! The programs in the README, each run as it stands there against a real server; only the address is another.
#![forbid(unsafe_code)]

#[path = "../browser/mod.rs"]
mod browser;
mod classify;
#[path = "../common/mod.rs"]
mod common;
mod javascript;
mod readme;
mod rust;
mod scripts;

use common::Server;

/// What every program classifies, under the name that the README gives it.
const PICTURE: &str = "cat.jpg";
/// What it shows, by the model that is built in.
const CLASS: (u64, &str) = (285, "Egyptian cat");

fn server() -> Server {
    Server::start(&["--device", "cpu"])
}

/// A folder in which the picture lies.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(common::data("photos/cat_640x480.jpg"), folder.path().join(PICTURE)).expect("a copy of the photo");
    folder
}

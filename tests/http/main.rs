//! The whole server over a real socket: the real binary, the real model, real pictures.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod predictions;
mod refusals;
mod told;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::Server;

const CAT: &str = "photos/cat_640x480.jpg";

/// One server for every test that runs at the time; it ends with the last of them.
fn server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let arguments = ["--device", "cpu", "--max-body-bytes", "1MiB", "--max-pixels", "400000"];
        let server = Arc::new(Server::start(&arguments));
        *shared = Arc::downgrade(&server);
        server
    })
}

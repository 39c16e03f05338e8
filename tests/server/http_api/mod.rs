//! The HTTP API with the default model and real images. The tests share one server.

mod errors;
mod models_and_metrics;
mod openapi;
mod predictions;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::common::Server;

const CAT: &str = "photos/cat_640x480.jpg";

/// Returns the server that all running tests share. It exits with the last of them.
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

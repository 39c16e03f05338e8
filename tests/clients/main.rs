//! Third-party clients of the server: curl, Node, Python packages and Prometheus; and the documents that show how to use them.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod dashboards;
mod document_links;
mod documented_programs;
mod documented_rust_client;
mod schemathesis;
mod triton;

//! Kiln serves image classification over HTTP. A build turns ONNX classifiers into Burn code; the server runs them on a
//! GPU or the CPU, behind a dynamic batcher and an API whose OpenAPI document the handlers generate.
//!
//! This package is the program: the command line ([`cli`]), the settings ([`config`]) and the commands ([`app`]), with
//! the parts of `kiln import` ([`mod@import`]), `kiln bench` ([`mod@bench`]), `kiln predict` ([`predict`]) and `kiln models`
//! ([`model_store`]) that need no device. Messages suggest the next command with [`shell`]. The crates below it are described in
//! `docs/architecture.md`, which also follows a request through them.
#![forbid(unsafe_code)]

pub mod app;
pub mod bench;
pub mod cli;
pub mod config;
pub mod import;
pub mod model_store;
pub mod predict;
pub mod shell;

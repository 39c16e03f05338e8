//! Kiln serves image classification over HTTP: an ONNX classifier, turned into Burn code when the program is built,
//! on the GPU or the CPU, behind a dynamic batcher and an API whose OpenAPI document its own handlers produce.
//!
//! # The rooms
//!
//! Imports go downwards only; a test enforces it (`tests/architecture`).
//!
//! | room | responsibility |
//! |---|---|
//! | [`cli`], [`config`] | what was typed, and what is meant |
//! | [`app`] | joins the rooms for each command |
//! | [`mod@finetune`] | trains the last layer of a model on corrected pictures |
//! | [`mod@import`] | what `kiln import` was told and asks, and where models live |
//! | [`mod@bench`] | what `kiln bench` finds, and how it is shown |
//! | [`shutdown`], [`serve`] | the way out; connections and time-outs |
//! | [`api`] | operations, schemas, keys, status codes |
//! | [`registry`] | model name and version -> classifier; exchanged as a whole when versions change |
//! | [`classifier`] | one picture's way through the rooms below |
//! | [`cache`] | keeps answers, and joins those who ask the same at once |
//! | [`batching`] | groups pictures that wait for an engine |
//! | [`inference`] | runs the network on a device |
//! | [`feedback`] | what was answered, and what people said of it |
//! | [`image`] | bytes -> pixels of the model's size |
//! | [`store`] | versions with other weights, and which of them is to answer |
//! | [`keys`] | keys and tokens, and what their owners may do |
//! | [`model`], [`oip`], [`plots`], [`readiness`], [`standing`], [`telemetry`], [`watched`] | leaves that others may use |
//!
//! Two crates lie below: `model-import` (ONNX -> Burn code, when the program is built) and `kiln-kernels` (operations
//! written by hand).
//!
//! `docs/architecture.md` follows a picture through them, and has what each may import.
#![forbid(unsafe_code)]

pub mod app;
pub mod bench;
pub mod cli;
pub mod config;
pub mod import;
pub mod store;

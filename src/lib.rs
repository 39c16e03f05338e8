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
//! # The life of a request
//!
//! 1. `serve` takes the connection; `api` gives the request an id and a span, and bounds its body.
//! 2. The key or token is checked before anything of the body is read, and with it scope and rate.
//! 3. [`classifier::Classifier::classify`]: the file's name; where answers are kept, a look whether this one is; then a permit
//!    from the batcher. A full queue answers 429 here, before anything is decoded.
//! 4. A decode thread: magic bytes, the header's size, decode, crop, antialiased resize, orientation.
//! 5. [`batching::Batcher::submit`]: the scheduler composes a batch only when an engine is free, so batches grow
//!    while the device works, and a lone picture waits for nothing. Entries whose caller has gone are dropped.
//! 6. An engine's thread: one upload of u8 pixels, normalisation and a network of fused layers on the device, one
//!    download: of logits, or from a GPU of the most probable classes. A GPU may also crop, resize and orient. On the CPU
//!    there is an engine for each thread: each runs batches by itself, and one that finds the others idle shares its work
//!    with their threads. An engine that fails is replaced; meanwhile nobody waits for it.
//! 7. Softmax and the most probable classes, labels, JSON; where the time went, in the answer, in the histograms and in one
//!    line of the log.
//! 8. Where predictions are recorded ([`feedback`]), the answer is handed to a thread that writes, without waiting for it. What
//!    people say of it later is acknowledged once it is on the disk.
#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod batching;
pub mod bench;
pub mod cache;
pub mod classifier;
pub mod cli;
pub mod config;
#[cfg(test)]
mod documents;
pub mod feedback;
pub mod finetune;
pub mod image;
pub mod import;
pub mod inference;
pub mod keys;
pub mod model;
pub mod oip;
pub mod plots;
pub mod readiness;
pub mod registry;
pub mod serve;
pub mod shutdown;
pub mod standing;
pub mod store;
pub mod telemetry;
pub mod watched;

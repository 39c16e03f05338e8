//! Groups images that arrive at the same time into batches for the engines of one model.
//!
//! The module handles preprocessed images and rows of logits. It depends neither on image formats, nor on HTTP, nor on
//! a device.
//!
//! An image takes these steps:
//!
//! 1. [`Batcher::admit`] returns a [`Permit`], or an error at once, such as "the queue is full". The caller asks for
//!    the permit before it decodes the image, so the queue capacity bounds decoding, waiting and running together.
//! 2. [`Batcher::submit`] puts the preprocessed image into the queue, together with the channel for its result.
//! 3. The scheduler composes a batch only when an engine is free (late binding): batches grow while the engines are
//!    busy, and a single image does not wait. Each engine gets its share of the images in flight. Images whose client
//!    has disconnected or whose deadline has passed are removed before they reach an engine.
//! 4. The thread of the engine runs the batch, sends each result and reports that the engine is free.
//!
//! Every submitted image gets exactly one result, even if engines fail.

mod admission;
mod batch;
mod batcher;
mod config;
mod engine_states;
mod engine_thread;
mod latency;
mod policy;
mod queue;
mod scheduler;
#[cfg(test)]
mod tests;

pub use admission::{AdmitError, Admitted, Permit};
pub use batch::{BatchError, BatchOutput, DurationStats};
pub use batcher::{Batcher, Worker};
pub use config::{Config, ConfigError};
pub use engine_thread::{SpawnThread, StartError, os_thread};

//! Groups pictures that arrive together into batches for the engines of one model.
//!
//! The room knows prepared pictures and rows of logits. It knows neither what is in a picture, nor
//! HTTP, nor which device computes.
//!
//! A picture's way through it:
//!
//! 1. [`Batcher::admit`] hands out a [`Permit`], or says "overloaded" at once. It is asked before
//!    the picture is decoded, so the bound covers decoding, waiting and running.
//! 2. [`Batcher::submit`] puts the prepared picture into the queue, with the channel for its answer.
//! 3. The scheduler composes a batch only when an engine is free (late binding): batches grow
//!    while the engines work, and a lone picture waits for nothing. Each engine gets its share of
//!    what is inside. Pictures whose caller has gone or whose deadline has passed are taken out
//!    before they cost an engine anything.
//! 4. The engine's own thread runs the batch, answers each caller and reports that it is free.
//!
//! Every submitted picture is answered exactly once, whatever becomes of the engines.
//!
//! | file | responsibility |
//! |---|---|
//! | `config.rs` | the settings and their ranges |
//! | `batcher.rs` | the handle that the rest of the server holds |
//! | `admission.rs` | who is let in, and the advice when to try again |
//! | `inside.rs` | how many are inside, by priority |
//! | `correction.rs` | what the advice leaves out |
//! | `service_time.rs` | how long batches take, fitted to those that were run |
//! | `entry.rs` | one picture in the queue, and the answer it gets |
//! | `state.rs` | the policy: what to run now, as a pure function of queue and time |
//! | `decision.rs` | what it says, and why |
//! | `scheduler.rs` | the task that owns the state and feeds it with events |
//! | `engines.rs` | what each engine is at: who is free, who is to check itself, who hangs |
//! | `batch.rs` | one batch, and who gets which row |
//! | `engine_thread.rs` | the thread that owns an engine, and replaces one that fails |
//! | `guarded.rs` | an engine whose panics are errors |
//! | `runs.rs` | how often each batch size was run |
//! | `worker.rs` | how to stop all of it |
//! | `error.rs` | why a picture was not admitted or not answered |

mod admission;
mod batch;
mod batcher;
mod config;
mod correction;
mod decision;
mod engine_thread;
mod engines;
mod entry;
mod error;
mod guarded;
mod inside;
mod runs;
mod scheduler;
mod service_time;
mod state;
#[cfg(test)]
mod tests;
mod worker;

pub use admission::{Ask, Permit};
pub use batcher::Batcher;
pub use config::{Config, ConfigError};
pub use entry::{Answer, Terms};
pub use error::{AdmitError, BatchError};
pub use runs::Timed;
pub use worker::Worker;
// Part of what is asked for.
pub use kiln_runtime::scheduling::{Priority, QueueShare};

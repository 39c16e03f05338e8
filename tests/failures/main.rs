//! Engine and device failures, with the whole server in the test process. Metrics, the log and the tracer belong to the process,
//! so these tests run one at a time (`common::alone`).
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/in_process.rs"]
mod in_process;

mod background_tasks;
mod device_loss;
mod early_refusal;
mod engine_failures;
mod failure_traces;
mod staged_engine;

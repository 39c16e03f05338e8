//! Measures time and memory. These tests run one at a time (`common::alone`): another test on the same processor cores would
//! distort the measurement. The allocation test also needs a global allocator of its own.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod cold_start;
mod load;
mod memory;
mod overload;

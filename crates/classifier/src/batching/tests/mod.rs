//! The batcher as its clients see it, with an engine whose every run a test controls.

mod deadlines;
mod engine_failure;
mod flow;
mod harness;
mod properties;
mod two_engines;

//! The batcher as its callers see it, with an engine whose every run the test controls.

mod arrivals;
mod engine_trouble;
mod flow;
mod harness;
mod properties;
mod several;
mod stress;
mod timing;

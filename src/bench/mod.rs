//! What `kiln bench` is to find and has found, and how that is shown. It measures nothing.
//!
//! | file | responsibility |
//! |---|---|
//! | `plan.rs` | what to measure |
//! | `result.rs` | the findings, as plain data |
//! | `summary.rs` | many latencies to percentiles and a mean |
//! | `comparison.rs` | the fastest device against the slowest |
//! | `grids.rs` | the findings as rows of text, for the terminal and the page |
//! | `table.rs` | grids for the terminal |
//! | `csv.rs` | one row a measurement |
//! | `page.rs` | one HTML page |
//! | `sections.rs` | the page's sections with plots |

mod comparison;
mod csv;
mod grids;
mod page;
mod plan;
mod result;
#[cfg(test)]
mod sample;
mod sections;
mod summary;
mod table;

pub use plan::Plan;
pub use result::{DeviceReport, EngineRun, Latency, LoadRun, Machine, Model, Report};

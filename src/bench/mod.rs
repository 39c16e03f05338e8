//! The plan and the results of `kiln bench`, and their formats: JSON, CSV, HTML and text. `app` measures.

mod comparison;
mod csv;
mod page;
mod report;
#[cfg(test)]
mod sample;
mod tables;

pub use report::{DeviceReport, EngineRun, Latency, LoadRun, Machine, Model, Plan, Report};

//! `kiln feedback`: what people said of predictions, for those who train and those who decide. A server may run meanwhile.

mod dataset;
mod export;
mod outside;
mod placement;
mod report;

pub use export::{ExportError, export};
pub use report::{ReportError, report};

//! Process-wide services that every layer may use: logs, metrics and traces ([`telemetry`]), [`readiness`], graceful
//! [`shutdown`], the [`file_watcher`], and the [`scheduling`] class of a request.
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod doc_tables;
pub mod file_watcher;
pub mod readiness;
pub mod scheduling;
pub mod shutdown;
pub mod telemetry;

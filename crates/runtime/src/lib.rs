//! Process-wide services that every layer may use: logs, metrics and traces ([`telemetry`]), [`readiness`], graceful
//! [`shutdown`], the [`supervisor`] of background tasks, the [`file_watcher`], the [`http_client`], [`blocking`] work, and
//! the [`scheduling`] class of a request.
#![forbid(unsafe_code)]

pub mod blocking;
#[doc(hidden)]
pub mod doc_tables;
pub mod file_watcher;
pub mod http_client;
pub mod readiness;
pub mod scheduling;
pub mod shutdown;
pub mod supervisor;
pub mod telemetry;

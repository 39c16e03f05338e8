//! Observability: [`logging`], [`metrics`] and [`traces`]. Every layer may record here.

mod dropped_lines;
mod escaping_writer;
pub mod logging;
pub mod metrics;
mod phases;
mod rate_limit;
mod rolling_file;
#[cfg(test)]
mod tests;
pub mod traces;

pub use escaping_writer::is_control_or_bidi;
pub use phases::{Phase, PhaseTimings};

/// Targets of log lines that are not module names, so that `--log-level` can select them.
pub mod target {
    /// One line for each answered request.
    pub const ACCESS: &str = "kiln::access";

    /// The span that adds the request ID to each line of a request. It is enabled at every level: see
    /// [`LogLevel`](super::logging::LogLevel).
    pub const REQUEST: &str = "kiln::request";

    /// Lines about the log itself: dropped lines and suppressed repeats.
    pub(super) const LOG: &str = "kiln::log";
}

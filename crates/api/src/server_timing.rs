//! The `Server-Timing` header of responses (W3C Server Timing), in milliseconds.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_runtime::telemetry::PhaseTimings;

/// The header with the durations of the phases.
pub(super) const SERVER_TIMING: &str = "Server-Timing";

/// Returns the value of `Server-Timing` for a request that took `total`.
pub(super) fn server_timing(phases: Option<&str>, total: Duration) -> String {
    let separator = if phases.is_some() { ", " } else { "" };
    format!("{}{separator}total;dur={:.3}", phases.unwrap_or_default(), ms(total))
}

/// Returns the phases that took time, in the syntax of the header.
pub(super) fn format_phases(timings: &PhaseTimings) -> String {
    let mut text = String::with_capacity(160);
    for (phase, took) in timings.nonzero() {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{};dur={:.3}", phase.as_str(), ms(took));
    }
    text
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_runtime::telemetry::Phase;

    #[test]
    fn server_timing_lists_nonzero_phases_and_then_the_total() {
        let total = Duration::from_micros(9500);
        assert_eq!(server_timing(None, total), "total;dur=9.500");
        let (receive, device) = (Duration::from_micros(1250), Duration::from_millis(7));
        let phases = format_phases(&PhaseTimings::from_iter([(Phase::Receive, receive), (Phase::Device, device)]));
        let header = server_timing(Some(&phases), total);
        assert_eq!(header, "receive;dur=1.250, device;dur=7.000, total;dur=9.500");
    }
}

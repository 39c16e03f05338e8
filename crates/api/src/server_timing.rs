//! The `Server-Timing` header (W3C Server Timing): where a request's time went, for who sees its answer.

use std::fmt::Write as _;
use std::time::Duration;

use kiln_runtime::telemetry::PhaseTimings;

/// The header's name.
pub(super) const SERVER_TIMING: &str = "Server-Timing";

/// The phases that there were, as the header has them, in milliseconds.
pub(super) fn phases(timings: &PhaseTimings) -> String {
    let mut text = String::with_capacity(160);
    for (phase, took) in timings.nonzero() {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{};dur={:.3}", phase.as_str(), ms(took));
    }
    text
}

/// The header's value for a request that took so long in all; it has no phases where nothing was classified.
pub(super) fn header(phases: Option<&str>, total: Duration) -> String {
    let separator = if phases.is_some() { ", " } else { "" };
    format!("{}{separator}total;dur={:.3}", phases.unwrap_or_default(), ms(total))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_runtime::telemetry::Phase;

    #[test]
    fn phases_that_there_were_come_first_and_the_total_last() {
        let total = Duration::from_micros(9500);
        assert_eq!(header(None, total), "total;dur=9.500");
        let (receive, device) = (Duration::from_micros(1250), Duration::from_millis(7));
        let phases = phases(&PhaseTimings::from_iter([(Phase::Receive, receive), (Phase::Device, device)]));
        let header = header(Some(&phases), total);
        assert_eq!(header, "receive;dur=1.250, device;dur=7.000, total;dur=9.500");
    }
}

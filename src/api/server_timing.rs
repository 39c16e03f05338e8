//! The `Server-Timing` header (W3C Server Timing): where a request's time went, for who sees its answer.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::classifier::Timings;

/// The header's name.
pub(super) const SERVER_TIMING: &str = "Server-Timing";

/// Where the handler writes down the timings of what it classified: of several pictures those of the slowest.
#[derive(Clone, Debug, Default)]
pub(super) struct Timed(Arc<OnceLock<Timings>>);

impl Timed {
    /// To be called once; what is told later is not heard.
    pub(super) fn set(&self, timings: Timings) {
        let _ = self.0.set(timings);
    }

    /// The phases that there were, as the header has them, in milliseconds; nothing where nothing was classified.
    pub(super) fn phases(&self) -> Option<String> {
        let timings = self.0.get()?;
        let mut text = String::with_capacity(160);
        for (name, took) in timings.phases().into_iter().filter(|(_, took)| !took.is_zero()) {
            let separator = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{separator}{name};dur={:.3}", ms(took));
        }
        Some(text)
    }
}

/// The header's value for a request that took so long in all.
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

    #[test]
    fn phases_that_there_were_come_first_and_the_total_last() {
        let timed = Timed::default();
        let total = Duration::from_micros(9500);
        assert_eq!(header(timed.phases().as_deref(), total), "total;dur=9.500");
        let (receive, device) = (Duration::from_micros(1250), Duration::from_millis(7));
        timed.set(Timings { receive, device, ..Timings::default() });
        let header = header(timed.phases().as_deref(), total);
        assert_eq!(header, "receive;dur=1.250, device;dur=7.000, total;dur=9.500");
    }
}

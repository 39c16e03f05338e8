//! A gauge that several add up to, such as versions of a model.

use std::sync::atomic::{AtomicI64, Ordering};

use metrics::Gauge;

/// One's part of a gauge. It is taken out when it is dropped.
#[derive(Debug)]
pub(super) struct Part {
    gauge: Gauge,
    told: AtomicI64,
}

impl Part {
    /// Nothing, from now on.
    pub(super) fn new(gauge: Gauge) -> Self {
        gauge.increment(0.0);
        Self { gauge, told: AtomicI64::new(0) }
    }

    /// Makes the part so large.
    pub(super) fn set(&self, now: usize) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.gauge.increment((now - self.told.swap(now, Ordering::Relaxed)) as f64);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

//! The pictures that are inside, counted by priority.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_runtime::scheduling::Priority;
use kiln_runtime::telemetry::metrics::ModelMetrics;

/// How many there are. What it has counted shares it.
#[derive(Debug, Default)]
pub(super) struct Inside(Arc<[AtomicUsize; 3]>);

impl Inside {
    /// Counts a picture as long as what is returned lives.
    pub(super) fn count(&self, priority: Priority, metrics: &ModelMetrics) -> Counted {
        self.0[priority as usize].fetch_add(1, Ordering::Relaxed);
        metrics.in_flight(1);
        Counted { inside: Arc::clone(&self.0), priority, metrics: metrics.clone() }
    }

    /// How many have this priority or a higher one, and how many a lower one.
    pub(super) fn around(&self, priority: Priority) -> (usize, usize) {
        let sum = |levels: &[AtomicUsize]| levels.iter().map(|level| level.load(Ordering::Relaxed)).sum();
        let (before, behind) = self.0.split_at(priority as usize + 1);
        (sum(before), sum(behind))
    }
}

/// One picture.
#[derive(Debug)]
pub(super) struct Counted {
    inside: Arc<[AtomicUsize; 3]>,
    priority: Priority,
    metrics: ModelMetrics,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.inside[self.priority as usize].fetch_sub(1, Ordering::Relaxed);
        self.metrics.in_flight(-1);
    }
}

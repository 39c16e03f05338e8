//! The part of the queue that one caller may fill, so that it does not keep others out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A caller's part of the queue. Clones count together.
#[derive(Clone, Debug)]
pub struct Share {
    /// Above 0, at most 1.
    pub fraction: f64,
    /// How many of the caller's pictures are inside now, of all models together.
    pub inside: Arc<AtomicUsize>,
}

/// One of the caller's pictures, until it is dropped.
#[derive(Debug)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Share {
    /// Counts one more picture.
    ///
    /// # Errors
    ///
    /// As many as may be are inside, and that many they are.
    pub(super) fn hold(&self, capacity: usize) -> Result<Held, usize> {
        // Of a small queue everybody may have a place.
        let most = ((self.fraction * capacity as f64).floor() as usize).max(1);
        let held = Held(Arc::clone(&self.inside));
        if self.inside.fetch_add(1, Ordering::Relaxed) < most { Ok(held) } else { Err(most) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

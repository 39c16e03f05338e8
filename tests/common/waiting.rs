//! Waiting for what others bring about, and telling them to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Waits until it is so, and tells how long that was. The test fails with what `described` says if it never is.
#[track_caller]
pub fn until(what: &str, patience: Duration, is: impl Fn() -> bool, described: impl Fn() -> String) -> Duration {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < patience, "waited in vain for {what}: {}", described());
        std::thread::sleep(Duration::from_millis(20));
    }
    begun.elapsed()
}

/// Tells clients that it is over when it is dropped, also when the test or one of them fails: their threads would be waited for.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

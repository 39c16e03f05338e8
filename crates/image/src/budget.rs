//! Bytes that all decoded pictures may take together. A few threads decode, but a picture may be large.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use kiln_runtime::telemetry::metrics::InflightBytes;

/// The bytes. Clones share them.
#[derive(Clone, Debug)]
pub struct DecodeBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    left: Mutex<u64>,
    freed: Condvar,
}

/// Some of the bytes, until they are dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: DecodeBudget,
    bytes: u64,
}

impl DecodeBudget {
    /// So many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Shared { most: bytes, left: Mutex::new(bytes), freed: Condvar::new() }))
    }

    /// How many there are in all, which is far above what any picture's file takes that fits in them.
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// Waits for room. Whoever holds bytes must not ask for more in the same thread.
    ///
    /// # Errors
    ///
    /// There never is so much; how much there is at most.
    pub(super) fn hold(&self, bytes: u64) -> Result<Held, u64> {
        if bytes > self.0.most {
            return Err(self.0.most);
        }
        let mut left = self.left();
        while *left < bytes {
            left = self.0.freed.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= bytes;
        InflightBytes::Decoded.add(bytes);
        Ok(Held { budget: self.clone(), bytes })
    }

    fn left(&self) -> MutexGuard<'_, u64> {
        // Nothing in here panics half-way.
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.budget.left() += self.bytes;
        InflightBytes::Decoded.sub(self.bytes);
        self.budget.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_finds_no_room_waits_until_there_is_some_and_who_never_would_is_told() {
        let budget = DecodeBudget::new(100);
        assert_eq!(budget.hold(101).unwrap_err(), 100);
        let first = budget.hold(60).unwrap();
        let second = budget.hold(40).unwrap();
        let (report, reports) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                report.send("asking").unwrap();
                let third = budget.hold(50).unwrap();
                report.send("in").unwrap();
                drop(third);
            });
            assert_eq!(reports.recv(), Ok("asking"));
            drop(second);
            // Time to get in, if 40 bytes were room for 50.
            assert!(reports.recv_timeout(Duration::from_millis(100)).is_err());
            drop(first);
            assert_eq!(reports.recv(), Ok("in"));
        });
        budget.hold(100).unwrap();
    }
}

//! Limits on images: accepted formats, number of pixels, and the memory of all decoded images together.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kiln_runtime::telemetry::metrics::InflightBytes;

use super::error::ImageError;
use super::format::{Format, FormatSet};
use super::other_formats;

/// The limits that an image must respect.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of pixels, by the header.
    pub max_pixels: u64,
    /// The accepted formats.
    pub formats: FormatSet,
    /// The bytes that all decoded images may use together.
    pub decode_budget: DecodeBudget,
    /// Whether truncated and damaged files are decoded as far as possible.
    pub truncated_images: TruncatedImages,
    /// Whether large JPEG files are decoded at 1/2, 1/4 or 1/8 of their size, if that is still enough for the model.
    pub fast_decode: bool,
}

/// What happens to an image whose file is truncated or damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TruncatedImages {
    /// It is refused.
    #[default]
    Refuse,
    /// It is decoded as far as possible. The missing pixels are black or grey; in some TIFF and BMP files white or the first colour of
    /// the palette.
    Accept,
}

impl FromStr for TruncatedImages {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "accept" => Ok(Self::Accept),
            _ => Err(()),
        }
    }
}

/// 50 megapixels of PNG, JPEG or GIF; 512 MiB for all decoded images together; no truncated files; all pixels.
impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
            formats: FormatSet::default(),
            decode_budget: DecodeBudget::new(512 << 20),
            truncated_images: TruncatedImages::default(),
            fast_decode: false,
        }
    }
}

/// The maximum length of a side, which is the bound of JPEG. The resize needs memory in proportion to the length of a
/// side, whatever the other side is, so an image of few pixels could still be expensive.
const MAX_SIDE: u32 = 65_535;

impl Limits {
    /// Detects the format by the first bytes. Fails if the format is unknown, not decoded or not accepted.
    pub(super) fn check_format(&self, bytes: &[u8]) -> Result<Format, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        if let Some(other) = other_formats::detect(bytes) {
            return Err(ImageError::OtherFormat(other));
        }
        let accepted = self.formats;
        let format = Format::detect(bytes).ok_or(ImageError::UnknownFormat { accepted })?;
        if accepted.contains(format) { Ok(format) } else { Err(ImageError::FormatNotAccepted { format, accepted }) }
    }

    /// Checks the size that a header declares.
    pub(super) fn check_size(&self, format: Format, width: u32, height: u32) -> Result<(), ImageError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ImageError::TooManyPixels { width, height, limit: self.max_pixels });
        }
        let undecodable = |reason: String| Err(ImageError::Undecodable { format, reason });
        if width == 0 || height == 0 {
            return undecodable("the width or the height is zero".to_string());
        }
        if width.max(height) > MAX_SIDE {
            return undecodable(format!("the size is {width}x{height}; the maximum length of a side is {MAX_SIDE}"));
        }
        Ok(())
    }

    /// Waits until `bytes` of the decode budget are free, and acquires them. Returns nothing if `token` ends the wait.
    pub(super) fn acquire(
        &self,
        format: Format,
        bytes: u64,
        token: Option<&CancelToken>,
    ) -> Result<Option<BudgetGuard>, ImageError> {
        self.decode_budget.acquire(bytes, token).map_err(|limit| ImageError::TooManyBytes { format, bytes, limit })
    }
}

/// A counting semaphore for the bytes that all decoded images use together: few threads decode, but one image may be
/// large. Clones share it.
#[derive(Clone, Debug)]
pub struct DecodeBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: u64,
    free: Mutex<u64>,
    released: Condvar,
}

/// A number of bytes of the budget. Dropping the guard releases them.
#[derive(Debug)]
pub(super) struct BudgetGuard {
    budget: DecodeBudget,
    bytes: u64,
}

impl DecodeBudget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Shared { capacity: bytes, free: Mutex::new(bytes), released: Condvar::new() }))
    }

    /// Returns the total number of bytes. An encoded image whose decoded form fits in it is far smaller.
    pub fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// Creates the token of one image, whose result is useless from `deadline` on.
    pub fn token(&self, deadline: Option<Instant>) -> CancelToken {
        CancelToken { budget: self.clone(), deadline, is_cancelled: Arc::default() }
    }

    /// Blocks until `bytes` are free, and acquires them. Returns nothing if the image of `token` is no longer needed
    /// before that. A thread that holds a guard must not acquire a second one, since it could wait for itself.
    ///
    /// # Errors
    ///
    /// If `bytes` exceeds the capacity, the error is the capacity.
    fn acquire(&self, bytes: u64, token: Option<&CancelToken>) -> Result<Option<BudgetGuard>, u64> {
        if bytes > self.0.capacity {
            return Err(self.0.capacity);
        }
        let deadline = token.and_then(|token| token.deadline);
        let mut free = self.free();
        while *free < bytes {
            if token.is_some_and(CancelToken::is_over) {
                return Ok(None);
            }
            free = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) => self.0.released.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.0.released.wait(free).unwrap_or_else(PoisonError::into_inner),
            };
        }
        *free -= bytes;
        InflightBytes::Decoded.add(bytes);
        Ok(Some(BudgetGuard { budget: self.clone(), bytes }))
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        // A poisoned lock still holds consistent data: no code panics between two updates.
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the wait of one image for memory: when its client has left, or when its deadline has passed. Clones share it.
#[derive(Clone, Debug)]
pub struct CancelToken {
    budget: DecodeBudget,
    deadline: Option<Instant>,
    is_cancelled: Arc<AtomicBool>,
}

/// Cancels a token when it is dropped.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once cancels the token at once"]
pub struct CancelGuard(CancelToken);

impl CancelToken {
    /// Returns a guard that cancels the token when it is dropped.
    pub fn drop_guard(&self) -> CancelGuard {
        CancelGuard(self.clone())
    }

    /// Returns whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// Returns whether the result is useless: the token was cancelled, or the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.is_cancelled() || self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        let CancelToken { budget, is_cancelled, .. } = &self.0;
        is_cancelled.store(true, Ordering::Relaxed);
        // A thread that read the flag before holds this lock until it waits, so that it does not miss the notification.
        drop(budget.free());
        budget.0.released.notify_all();
    }
}

impl Drop for BudgetGuard {
    fn drop(&mut self) {
        *self.budget.free() += self.bytes;
        InflightBytes::Decoded.sub(self.bytes);
        self.budget.0.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn acquire_waits_for_free_bytes_and_fails_beyond_the_capacity() {
        let budget = DecodeBudget::new(100);
        let acquire = |bytes| budget.acquire(bytes, None).map(|guard| guard.expect("no token ends the wait"));
        assert_eq!(acquire(101).unwrap_err(), 100);
        let first = acquire(60).unwrap();
        let second = acquire(40).unwrap();
        let (sender, events) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send("waiting").unwrap();
                let third = acquire(50).unwrap();
                sender.send("acquired").unwrap();
                drop(third);
            });
            assert_eq!(events.recv(), Ok("waiting"));
            drop(second);
            // If 40 free bytes sufficed for 50, the thread would acquire them within this time.
            assert!(events.recv_timeout(Duration::from_millis(100)).is_err());
            drop(first);
            assert_eq!(events.recv(), Ok("acquired"));
        });
        acquire(100).unwrap();
    }

    #[test]
    fn wait_ends_when_the_client_leaves_and_at_the_deadline() {
        let budget = DecodeBudget::new(100);
        let held = budget.acquire(100, None).unwrap();
        let late = budget.token(Some(Instant::now() + Duration::from_millis(50)));
        assert!(budget.acquire(1, Some(&late)).unwrap().is_none());
        assert!(late.is_over() && !late.is_cancelled());
        let token = budget.token(Some(Instant::now() + Duration::from_secs(3600)));
        let client = token.drop_guard();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.acquire(1, Some(&token)).unwrap().is_none());
            drop(client);
            assert!(waiting.join().unwrap());
        });
        drop(held);
        let current = budget.token(None);
        assert!(budget.acquire(100, Some(&current)).unwrap().is_some(), "nothing of the budget was lost");
    }
}

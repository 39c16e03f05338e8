//! Memory that kernels work in: a growing buffer for each thread and purpose, kept from one call to the next.

use std::cell::RefCell;

use super::aligned::{ALIGNMENT, Aligned};

/// What a buffer is for. Different ones may be held at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// Input with its padding around it.
    Padded,
    /// What a chain's first convolution leaves for the depthwise one.
    Ring,
    /// What a chain's depthwise convolution leaves for the last one.
    Between,
    /// A block of input in bfloat16.
    Converted,
}

thread_local! {
    static BUFFERS: [RefCell<Aligned>; 4] = std::array::from_fn(|_| RefCell::new(Aligned::new(ALIGNMENT)));
}

/// Lends out `length` values of unknown content.
///
/// # Panics
///
/// This thread has lent out the buffer of this purpose already.
pub(crate) fn with<R>(purpose: Purpose, length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    BUFFERS.with(|buffers| {
        let mut buffer = buffers[purpose as usize].borrow_mut();
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
        work(&mut buffer[..length])
    })
}

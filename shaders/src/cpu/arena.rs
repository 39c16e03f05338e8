//! Memory for what one layer leaves for the next: taken, filled, and given back when the tensor around it is dropped.
//!
//! A network asks for the same sizes again and again. Fresh memory of that size comes from the operating system, page
//! by page and zeroed, which costs more than some layers do.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use super::aligned::{ALIGNMENT, Aligned};

/// Buffers that wait to be used again.
static FREE: Mutex<Vec<Aligned>> = Mutex::new(Vec::new());
/// How many may wait. A network has a handful in use at once, for each thread that runs it.
const MOST: usize = 64;

/// f32 values that return to the arena when they are dropped.
pub(crate) struct Buffer {
    /// Never shrunk, so that growing again costs nothing.
    memory: Aligned,
    length: usize,
}

impl Buffer {
    /// `length` values of unknown content.
    pub(crate) fn take(length: usize) -> Self {
        Self { memory: reuse(length).unwrap_or_else(|| fresh(length)), length }
    }
}

/// The smallest waiting buffer that is large enough, and not so large that it should be kept for others.
fn reuse(length: usize) -> Option<Aligned> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |size: usize| size >= length && size / 2 <= length;
    let (index, _) = free.iter().enumerate().filter(|(_, b)| fits(b.len())).min_by_key(|(_, b)| b.len())?;
    Some(free.swap_remove(index))
}

fn fresh(length: usize) -> Aligned {
    let mut memory = Aligned::new(ALIGNMENT);
    memory.resize(length, 0.0);
    memory
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, Aligned::new(ALIGNMENT));
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST {
            free.push(memory);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.memory[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[..self.length]
    }
}

/// The same values as bytes, as tensors hold them.
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_and_is_not_wasted_on_small_wishes() {
        // A size that no other test asks for.
        const SIZE: usize = 77_777;
        let first = Buffer::take(SIZE);
        let place = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take(SIZE - 100).as_ptr(), place);
        assert_ne!(Buffer::take(SIZE / 4).as_ptr(), place);
        assert_eq!(Buffer::take(SIZE).len(), SIZE);
    }
}

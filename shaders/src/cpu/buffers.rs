//! Memory of the kernels: aligned vectors, the pool of buffers that hold the tensors between layers, and scratch memory for
//! each thread.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use aligned_vec::{AVec, ConstAlign};

/// Bytes of a cache line, and of the widest vector. A vector that crosses a cache line costs two loads.
pub(super) const ALIGNMENT: usize = 64;

/// f32 values that start on a cache line.
pub(super) type AlignedVec = AVec<f32, ConstAlign<ALIGNMENT>>;

/// The maximum number of free buffers in a pool. A network uses a few at once on each thread that runs it.
const MAX_FREE: usize = 64;

/// Memory for the outputs of layers, to be used again and again.
///
/// A network requests the same sizes in every run. New memory comes from the operating system page by page and zeroed, which
/// takes longer than some layers.
#[derive(Default)]
pub(crate) struct BufferPool {
    free: Mutex<Vec<AlignedVec>>,
}

impl BufferPool {
    /// Takes a buffer of `length` values from the pool. The values are unspecified.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let memory = self.reuse(length).unwrap_or_else(|| allocate(length));
        Buffer { memory, length, pool: Arc::clone(self) }
    }

    /// Returns the smallest free buffer of at least `length` values, unless it has more than twice as many: those stay free
    /// for larger requests.
    fn reuse(&self, length: usize) -> Option<AlignedVec> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |size: usize| size >= length && size / 2 <= length;
        let (index, _) = free.iter().enumerate().filter(|(_, b)| fits(b.len())).min_by_key(|(_, b)| b.len())?;
        Some(free.swap_remove(index))
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BufferPool").finish_non_exhaustive()
    }
}

/// The output of a layer. Dropping it returns its memory to its pool, on any thread.
pub(crate) struct Buffer {
    /// Never shrunk, so that a later use of a larger length costs nothing.
    memory: AlignedVec,
    length: usize,
    pool: Arc<BufferPool>,
}

fn allocate(length: usize) -> AlignedVec {
    let mut memory = AlignedVec::new(ALIGNMENT);
    memory.resize(length, 0.0);
    memory
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::replace(&mut self.memory, AlignedVec::new(ALIGNMENT));
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MAX_FREE {
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

/// The values as bytes, which is how tensors store them.
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

/// The purpose of a scratch buffer. A thread can borrow buffers of different purposes at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scratch {
    /// Input rows with their padding.
    PaddedRows,
    /// The ring of rows between the first and the depthwise convolution of an inverted bottleneck.
    Ring,
    /// Rows between the depthwise and the last convolution of an inverted bottleneck.
    DepthwiseRows,
    /// A block of input in bfloat16.
    Bf16Block,
    /// The panels of the second matrix of a product.
    MatrixPanels,
    /// Transformed input tiles of a convolution by Winograd's algorithm.
    WinogradInput,
    /// Their products with the transformed weights.
    WinogradOutput,
}

thread_local! {
    /// One growing buffer for each [`Scratch`], kept from one call to the next.
    static SCRATCH: [RefCell<AlignedVec>; 7] = std::array::from_fn(|_| RefCell::new(AlignedVec::new(ALIGNMENT)));
}

/// Calls `work` with a scratch buffer of `length` values. The values are unspecified.
///
/// # Panics
///
/// Panics if this thread has already borrowed the buffer of this purpose.
pub(super) fn with_scratch<R>(purpose: Scratch, length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with(|buffers| {
        let mut buffer = buffers[purpose as usize].borrow_mut();
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
        work(&mut buffer[..length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_reuses_memory_unless_it_is_much_too_large() {
        const SIZE: usize = 77_777;
        let pool = Arc::<BufferPool>::default();
        let first = pool.take(SIZE);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(pool.take(SIZE - 100).as_ptr(), address);
        assert_ne!(pool.take(SIZE / 4).as_ptr(), address);
        assert_eq!(pool.take(SIZE).len(), SIZE);
    }
}

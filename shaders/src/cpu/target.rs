//! Where a kernel's results go: a buffer that several threads fill, each its own part, and the residual that is added.

use std::marker::PhantomData;

/// A place in an output buffer, which stays borrowed for as long as this lives, and the same place in the residual.
///
/// Making one is safe. Whoever writes through it promises that no two threads write to the same place.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    start: *mut f32,
    /// Values from `start` to the end of the buffer.
    length: usize,
    /// Null if nothing is added.
    residual: *const f32,
    buffers: PhantomData<(&'a mut [f32], &'a [f32])>,
}

// SAFETY: it is only pointers; whoever writes through them (unsafe) promises to write where nobody else does.
unsafe impl Send for Target<'_> {}
// SAFETY: likewise.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    /// The start of `output`.
    ///
    /// # Panics
    ///
    /// The residual is not as large as the output.
    pub(super) fn new(output: &'a mut [f32], residual: Option<&'a [f32]>) -> Self {
        assert!(residual.is_none_or(|values| values.len() == output.len()), "values of a residual");
        Self {
            start: output.as_mut_ptr(),
            length: output.len(),
            residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
            buffers: PhantomData,
        }
    }

    /// The place `values` further on.
    ///
    /// # Panics
    ///
    /// It is beyond the end.
    pub(super) fn skip(self, values: usize) -> Self {
        assert!(values <= self.length, "value {values} of {}", self.length);
        let residual = if self.residual.is_null() { self.residual } else { self.residual.wrapping_add(values) };
        Self { start: self.start.wrapping_add(values), length: self.length - values, residual, ..self }
    }

    /// The place of pixel `index` of pictures of so many channels.
    pub(super) fn at_pixel(self, index: usize, channels: usize) -> Self {
        self.skip(index * channels)
    }

    /// The output from here on, if it has room for `values`.
    ///
    /// # Panics
    ///
    /// It has not.
    pub(super) fn output(&self, values: usize) -> *mut f32 {
        assert!(values <= self.length, "{values} values where there is room for {}", self.length);
        self.start
    }

    /// The residual from here on, or null.
    pub(super) fn residual(&self) -> *const f32 {
        self.residual
    }
}

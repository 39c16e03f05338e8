//! Buffers that start on a cache line: a vector that straddles two lines costs two loads.

use aligned_vec::{AVec, ConstAlign};

/// Bytes of a cache line, and of the widest vector.
pub(crate) const ALIGNMENT: usize = 64;

/// f32 values that start on a cache line.
pub(crate) type Aligned = AVec<f32, ConstAlign<ALIGNMENT>>;

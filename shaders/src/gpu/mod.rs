//! What runs on GPUs: the WGSL programs and how they are launched. What they compute is said in their own files, beside
//! `Cargo.toml`; who calls them is in `layers/` and `normalize/`.
//!
//! | file | responsibility |
//! |---|---|
//! | `source.rs` | the programs' text |
//! | `launch.rs` | a program, its buffers and its numbers, sent to the device |
//! | `packed.rs` | a convolution's weights as the programs want them |

mod launch;
mod packed;
mod source;

pub(crate) use launch::Launch;
pub(crate) use packed::PackedConv;
pub use source::Tiles;
pub(crate) use source::{LANES, Operation};

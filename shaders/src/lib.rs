//! Kiln's hand-written operations: WGSL kernels, their CPU counterparts, and for each a plain-tensor twin.
//!
//! | operation | GPU (WGSL) | CPU | plain-tensor twin |
//! |---|---|---|---|
//! | [`normalize`]: packed u8 NHWC -> normalised f32 or f16, NCHW or NHWC | `normalize.wgsl` | `normalize/flex.rs` | `normalize/plain.rs` |
//! | [`resize`]: decoded pictures -> the network's input | `resize.wgsl` | the server's own image path | `resize/plain.rs` |
//! | [`top_k`]: logits -> the most probable classes | `softmax_topk.wgsl` | - | whoever has the logits ranks them |
//! | [`layers`]: fused convolutions, chains of them, pooling, scaling, in NHWC | `product*.wgsl` with `pointwise.wgsl` or `conv*.wgsl`, `depthwise.wgsl`, `pool.wgsl` | `cpu/` | `layers/plain.rs` |
//!
//! | module | responsibility |
//! |---|---|
//! | [`cpu`] | kernels for slices, for each instruction set, and the threads that share them; knows nothing of Burn |
//! | [`caches`] | where compilers keep what they have compiled |
//! | `gpu` | the WGSL programs and how they are launched |
//! | [`layers`] | those kernels as Burn modules and operations, as generated networks call them |
//! | [`normalize`] | pixels to the network's input |
//! | [`Kernels`] | which implementation a device gets |
//!
//! A hand-written operation is a Burn backend extension, so one call goes to whichever backend holds the
//! tensor. A WGSL kernel runs only where the runtime picked the WGSL compiler; everywhere else the twin, made
//! of stock tensor operations, does the same work. [`Kernels::best_for`] chooses once, at start.
//!
//! Of the large crates it depends on Burn alone. It knows neither the server nor any one model.

pub mod caches;
pub mod cpu;
mod gpu;
mod kernels;
pub mod layers;
mod layout;
pub mod normalize;
pub mod resize;
mod top_k;

pub use kernels::{Kernels, Tiles};
pub use layout::Layout;
pub use normalize::Normalizer;
pub use top_k::top_k;

//! The operations that graphs and kernels have in common.
//!
//! `kiln-graph` finds them in ONNX files, `kiln-kernels` runs them, and neither depends on the other.
//!
//! ```
//! use kiln_ops::{Activation, Geometry, Unary};
//!
//! assert_eq!(Activation::RELU.function().map(|function| function.of(-2.0)), Some(0.0));
//! let window = Geometry { kernel: [3, 3], stride: [2, 2], before: [1, 1], after: [1, 1] };
//! assert_eq!(window.checked_output_size([224, 224]), Some([112, 112]));
//! assert_eq!(Unary::Round.of(2.5), 2.0);
//! ```
#![forbid(unsafe_code)]

mod activation;
mod binary;
mod reduction;
mod unary;
mod window;

pub use activation::Activation;
pub use binary::Binary;
pub use reduction::Reduction;
pub use unary::Unary;
pub use window::{Geometry, Pooling};

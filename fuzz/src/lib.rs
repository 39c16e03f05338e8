//! Entry points for the fuzz targets: the code that reads untrusted input, without Burn, so that it builds in minutes.
//!
//! The decoder and the inference protocol are crates of their own. The API's readers are compiled from its source files, since the
//! API depends on the inference engine.
#![forbid(unsafe_code)]
#![allow(dead_code, unused_imports, reason = "the callers of these files are not part of this crate")]

// The API's files name these crates.
extern crate self as kiln_classifier;

pub mod api;
#[path = "../../crates/classifier/src/picture.rs"]
mod picture;

pub use kiln_image as image;
pub use kiln_oip as oip;
pub use picture::Picture;

//! The CPU kernels and their tests without the rest of the crate; see Cargo.toml.
#![allow(dead_code, unused_imports, reason = "the callers of the kernels are not part of this package")]

#[path = "../src/cpu/mod.rs"]
mod cpu;

//! The CPU kernels and their tests, by themselves; see Cargo.toml.
#![allow(dead_code, unused_imports, reason = "what is missing here is what calls them")]

#[path = "../src/cpu/mod.rs"]
mod cpu;

//! The build script's own files, so that tests ask what the build asks.

#[path = "../../build/ending.rs"]
pub mod ending;
#[path = "../../build/error.rs"]
pub mod error;
#[path = "../../build/graph.rs"]
pub mod graph;
#[path = "../../build/manifest/mod.rs"]
#[allow(dead_code, reason = "the build script reads what the tests do not")]
pub mod manifest;
#[path = "../../build/proto.rs"]
#[allow(dead_code, reason = "`kiln import` shows what the tests do not")]
pub mod proto;
#[path = "../../build/sanity.rs"]
pub mod sanity;

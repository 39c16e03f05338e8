//! Pictures, forms and requests that mean harm: each is refused with the right words, or taken for what it is, and none
//! costs more time or memory than it should. The real binary over a real socket.
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;

mod attacked;
mod bombs;
mod case;
mod damaged;
mod forms;
mod framing;
mod gif;
mod jpeg;
mod names;
mod oddities;
mod png;

//! Tests of the room's files together.

mod file;
mod keyring;

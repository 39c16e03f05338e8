//! Lines on standard error.

use std::fmt;
use std::io::Write as _;

/// Prints a line to standard error. Without standard error nothing happens: the command goes on, and keeps its exit status.
/// `eprintln!` would panic.
pub fn print_error(message: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

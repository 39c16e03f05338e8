//! What the operator sees: logs, metrics and traces. Any room may record to it; it imports none.
//!
//! | file | responsibility |
//! |---|---|
//! | `logging.rs` | joins what follows into the process's log |
//! | `level.rs`, `target.rs` | levels, and names to give them to |
//! | `one_line.rs` | one event is one line, whatever is in it |
//! | `daily_file/` | files by day and size, of which few are kept |
//! | `repeats.rs`, `throttle.rs` | warnings and errors that repeat are held back |
//! | `lost.rs` | counts lines that were lost |
//! | `keeper.rs` | the thread that tells of both |
//! | `metrics/` | what is counted and measured |
//! | `traces/` | what happened to each request, for a collector |

mod daily_file;
mod keeper;
mod level;
pub mod logging;
mod lost;
pub mod metrics;
mod one_line;
mod phases;
mod repeats;
pub mod target;
#[cfg(test)]
mod tests;
mod throttle;
pub mod traces;

pub use phases::{Phase, PhaseTimings};

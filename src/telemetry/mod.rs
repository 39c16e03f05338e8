//! What the operator sees: logs and metrics. Any room may record to it; it imports none.

mod daily_file;
mod level;
pub mod logging;
pub mod metrics;

//! What the operator sees: logs and metrics. Any room may record to it; it imports none.

pub mod logging;
pub mod metrics;

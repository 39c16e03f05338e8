//! Targets of log lines that are no module's name, so that a level can be given for them alone.

/// One line for each answered request.
pub const ACCESS: &str = "kiln::access";

/// The span that gives each line of a request its id. It is on at every level: see [`super::logging::LogLevel`].
pub const REQUEST: &str = "kiln::request";

/// What the log tells of itself: lines that were lost, and repeats that were held back.
pub(super) const LOG: &str = "kiln::log";

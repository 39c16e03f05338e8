//! What the server counts and measures, for Prometheus.
//!
//! | file | responsibility |
//! |---|---|
//! | `names.rs` | every metric's name, unit, labels and help |
//! | `exporter.rs` | the recorder, and the page that shows it |
//! | `requests.rs` | requests, connections and their bytes |
//! | `model.rs` | pictures, batches and engines of one model |
//! | `feedback.rs` | what is recorded, what people say of it, and drift |
//! | `server.rs` | the start, readiness, devices |
//! | `table.rs` | the README's table |
//!
//! What is recorded before a recorder is installed is recorded nowhere, and costs next to nothing.

mod exporter;
mod feedback;
mod model;
mod names;
mod requests;
mod server;
#[cfg(test)]
mod table;

pub use exporter::{Exporter, install};
pub use feedback::{FeedbackMetrics, Lost, begin_feedback, kept_pictures, not_kept};
pub use model::{ModelMetrics, Rejection, Shares};
pub use names::{ALL, Kind, Metric};
pub use requests::{InflightBytes, OpenConnection, cancelled, request, request_by};
pub use server::{DeviceLabels, build_info, canary_checked, device_info, device_rebuilt, ready, startup};

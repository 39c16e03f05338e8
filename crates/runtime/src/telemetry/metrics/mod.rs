//! What the server counts and measures, for Prometheus.
//!
//! | file | responsibility |
//! |---|---|
//! | `names.rs` | every metric's name, unit, labels and help |
//! | `exporter.rs` | the recorder, and the page that shows it |
//! | `requests.rs` | requests, connections and their bytes |
//! | `cache.rs` | kept answers |
//! | `feedback.rs` | what is recorded, what people say of it, and drift |
//! | `model.rs` | pictures, batches and engines of a version of a model |
//! | `triton.rs` | the same version in Triton's terms |
//! | `part.rs` | a gauge that several versions add up to |
//! | `server.rs` | the start, readiness, devices |
//! | `versions.rs` | which versions are served |
//! | `table.rs` | `docs/metrics.md`'s table |
//!
//! What is recorded before a recorder is installed is recorded nowhere, and costs next to nothing.

mod cache;
mod exporter;
mod feedback;
mod model;
mod names;
mod part;
mod requests;
mod server;
#[cfg(test)]
mod table;
mod triton;
mod versions;

pub use cache::{CacheMetrics, CacheOutcome};
pub use exporter::{Exporter, install};
pub use feedback::{FeedbackMetrics, Lost, begin_feedback, kept_pictures, not_kept};
pub use model::ModelMetrics;
pub use names::{ALL, Kind, Metric};
pub use requests::{InflightBytes, OpenConnection, cancelled, request, request_by};
pub use server::{DeviceLabels, build_info, canary_checked, device_info, device_rebuilt, ready, startup};
pub use triton::{Rejection, Shares};
pub use versions::{Swap, shadow_compared, swap, swaps_begin, version_label};

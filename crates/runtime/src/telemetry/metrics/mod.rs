//! Metrics for Prometheus.
//!
//! Metrics recorded before [`install`] are discarded, at almost no cost.

mod definitions;
mod exporter;
mod feedback;
mod loaded_models;
mod model;
mod requests;
mod server;

pub use definitions::{ALL, Kind, Metric};
pub use exporter::{Exporter, install};
pub use feedback::{FeedbackMetrics, RecordKind, init_feedback, record_dropped, stored_images_bytes};
pub use model::{CacheOutcome, FailureReason, ModelMetrics, RequestDurations};
pub use requests::{CacheMetrics, InflightBytes, OpenConnection, cancelled, request, request_by_key};
pub use server::{
    DeviceLabels, ReloadOutcome, build_info, device_info, device_rebuilt, init_model_reloads, model_load_errors,
    model_reload, readiness, self_test, shadow_compared, startup_phase, version_label,
};

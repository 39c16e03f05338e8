//! Classifies images: joins admission, decoding, batching and ranking for one request. It depends neither on HTTP nor
//! on a device.
//!
//! A request passes [`registry`] (which version of the model), [`Classifier::classify`] or [`Classifier::infer`], the
//! response cache ([`cache`]), if there is one, and a batch ([`batching`]).
#![forbid(unsafe_code)]

pub mod batching;
pub mod cache;
mod classifier;
mod embed;
mod infer;
mod model_cache;
mod options;
mod prediction;
mod preprocess;
pub mod registry;
mod shadow;
mod statistics;
#[doc(hidden)]
pub mod test_support;
#[cfg(test)]
mod tests;

pub use cache::CacheStatus;
pub use classifier::Classifier;
pub use infer::{Row, Scores, slowest};
pub use model_cache::ResponseCache;
pub use options::RequestOptions;
pub use prediction::{Class, Classification, ClassifyError, Embedding, ImageInfo, Prediction};
pub use preprocess::preprocess_spec;
pub use statistics::StatisticsSnapshot;
// Types of lower layers that appear in this crate's API.
pub use crate::batching::{AdmitError, BatchError, DurationStats};
pub use kiln_image::{EncodedImage, ImageError};
pub use kiln_inference::DeviceAssignment;
pub use kiln_runtime::scheduling::{Priority, QueueShare};
pub use kiln_runtime::telemetry::metrics::CacheOutcome;

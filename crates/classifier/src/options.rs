//! The options of a request: one struct that goes from the handler to the batch.

use tokio::time::Instant;

use kiln_runtime::scheduling::{Priority, QueueShare};

/// What a client requests besides the image itself.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// The maximum number of classes to return, most probable first. If absent, all classes are returned.
    pub top_k: Option<usize>,
    /// The minimum probability of the returned classes. If absent, it is 0.5 for a multi-label model, and 0 otherwise.
    pub threshold: Option<f32>,
    /// The deadline. An image that still waits at its deadline is not run.
    pub deadline: Option<Instant>,
    /// The priority in the queue.
    pub priority: Priority,
    /// The caller's share of the queue. If absent, the caller may fill the whole queue.
    pub share: Option<QueueShare>,
    /// Whether the response cache is bypassed: the response is neither read from it nor written to it.
    pub bypass_cache: bool,
    /// When the head of the request arrived. If absent, the request begins when the classifier is called.
    pub arrived: Option<std::time::Instant>,
}

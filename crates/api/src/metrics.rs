//! `GET /metrics`: open to all, for those with the scope, or on a listener of its own.

use poem::{Endpoint, Response, endpoint};
use poem_openapi::payload::PlainText;
use poem_openapi::{OpenApi, Tags};

use super::caller::{Caller, ToSeeMetrics};
use super::refused::{OfCallers, Refused};
use kiln_runtime::telemetry::metrics::Exporter;

/// Who may read the metrics here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Everybody.
    #[default]
    Open,
    /// Those whose key has the scope `metrics`.
    Guarded,
    /// Nobody: they are elsewhere.
    Elsewhere,
    /// Nobody: nothing is measured.
    Off,
}

/// Metrics for everybody.
pub(super) struct OpenMetrics(pub(super) Exporter);
/// Metrics for those who may see them.
pub(super) struct GuardedMetrics(pub(super) Exporter);

#[derive(Tags)]
enum Tag {
    /// For orchestrators and scrapers.
    Operations,
}

#[OpenApi(tag = "Tag::Operations")]
impl OpenMetrics {
    /// Metrics in Prometheus' text format
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self) -> PlainText<String> {
        PlainText(self.0.render())
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl GuardedMetrics {
    /// Metrics in Prometheus' text format
    ///
    /// Needs the scope `metrics`.
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self, _caller: Caller<ToSeeMetrics>) -> Result<PlainText<String>, Refused<OfCallers>> {
        Ok(PlainText(self.0.render()))
    }
}

/// The metrics alone, for a listener of their own. Nobody is asked who he is.
pub fn metrics_endpoint(metrics: Exporter) -> impl Endpoint + 'static {
    let page = endpoint::make_sync(move |_| {
        Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
    });
    poem::Route::new().at("/metrics", poem::get(page))
}

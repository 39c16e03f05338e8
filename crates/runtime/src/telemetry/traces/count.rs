//! What became of the spans: of those that were handed to the SDK, how many arrived. The SDK knows no number for what it gives up
//! at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

/// Spans so far. Clones share the numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Count(Arc<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    ended: AtomicU64,
    settled: AtomicU64,
}

impl Count {
    /// So many arrived, or were told to be lost.
    pub(super) fn settle(&self, spans: usize) {
        self.0.settled.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Spans that ended and of which nothing was heard since.
    pub(super) fn unsettled(&self) -> u64 {
        self.0.ended.load(Ordering::Relaxed).saturating_sub(self.0.settled.load(Ordering::Relaxed))
    }
}

/// Counts what it hands on.
#[derive(Debug)]
pub(super) struct Counting<P> {
    pub(super) next: P,
    pub(super) count: Count,
}

impl<P: SpanProcessor> SpanProcessor for Counting<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.count.0.ended.fetch_add(u64::from(span.span_context.is_sampled()), Ordering::Relaxed);
        self.next.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    use super::*;

    /// Takes spans and says nothing, as the SDK does where there is no time left.
    #[derive(Debug)]
    struct Silent;

    impl SpanProcessor for Silent {
        fn on_start(&self, _: &mut Span, _: &Context) {}
        fn on_end(&self, _: SpanData) {}
        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }
        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn spans_of_which_nothing_was_heard_are_counted() {
        let count = Count::default();
        let provider =
            SdkTracerProvider::builder().with_span_processor(Counting { next: Silent, count: count.clone() }).build();
        let tracer = provider.tracer("test");
        for _ in 0..3 {
            drop(tracer.start("span"));
        }
        assert_eq!(count.unsettled(), 3);
        count.settle(2);
        assert_eq!(count.unsettled(), 1);
        // Of those that are not recorded nobody waits for news.
        let quiet = SdkTracerProvider::builder()
            .with_sampler(Sampler::AlwaysOff)
            .with_span_processor(Counting { next: Silent, count: count.clone() })
            .build();
        drop(quiet.tracer("test").start("span"));
        assert_eq!(count.unsettled(), 1);
    }
}

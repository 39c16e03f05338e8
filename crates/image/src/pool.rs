//! Threads that decode, so that the async ones never do. What is done on them is the caller's business.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;

use kiln_runtime::telemetry::metrics;

/// A fixed number of threads. Cheap to clone; the threads end with the last clone.
#[derive(Clone, Debug)]
pub struct DecodePool(Arc<ThreadPool>);

/// Why work has no result. The fault is the server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The work panicked; the threads live on.
    #[error("decoding panicked")]
    Panicked,
}

impl DecodePool {
    /// A pool of `threads` threads, at least one.
    ///
    /// # Panics
    ///
    /// Panics if the system gives no threads, which only happens at start.
    pub fn new(threads: usize) -> Self {
        let pool = ThreadPoolBuilder::new()
            // Zero would mean one a core.
            .num_threads(threads.max(1))
            .thread_name(|index| format!("kiln-decode-{index}"))
            // What panics outside `work`, such as the drop of a result that nobody waits for. The default aborts.
            .panic_handler(drop)
            .build()
            .expect("the system has threads to give at start");
        Self(Arc::new(pool))
    }

    /// Runs `work` on a thread of the pool. Work whose caller has gone before its turn is not done.
    ///
    /// # Errors
    ///
    /// The work panicked.
    pub async fn run<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        self.0.spawn_fifo(move || {
            if reply.is_closed() {
                metrics::cancelled("decode");
                return;
            }
            // A caller that goes while the work is done misses nothing.
            let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
        });
        match result.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) | Err(_) => Err(PoolError::Panicked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_pool_lives_on() {
        let pool = DecodePool::new(1);
        let broken: Result<(), _> = pool.run(|| panic!("a broken decoder")).await;
        assert_eq!(broken, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_not_done() {
        let pool = DecodePool::new(1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = pool.clone();
        let busy = tokio::spawn(async move { holder.run(move || held.recv().is_ok()).await });
        tokio::task::yield_now().await;
        let (witness, done) = std::sync::mpsc::channel::<()>();
        let abandoned = pool.run(move || witness.send(()).is_ok());
        assert!(futures_util::FutureExt::now_or_never(abandoned).is_none());
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(true));
        assert_eq!(pool.run(|| true).await, Ok(true));
        assert!(done.try_recv().is_err(), "the abandoned work ran");
    }

    #[tokio::test]
    async fn a_result_that_nobody_wants_and_that_will_not_be_dropped_harms_nobody() {
        struct Stubborn;
        impl Drop for Stubborn {
            fn drop(&mut self) {
                panic!("a broken destructor");
            }
        }
        let pool = DecodePool::new(1);
        let (started, begun) = tokio::sync::oneshot::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = pool.clone();
        let work = move || {
            started.send(()).unwrap();
            held.recv().unwrap();
            Stubborn
        };
        let caller = tokio::spawn(async move { holder.run(work).await.map(drop) });
        begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}

//! A thread pool for decoding, so that the threads of the async runtime never decode. The caller decides what runs on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::oneshot;

use kiln_runtime::telemetry::metrics;

/// A fixed number of threads. Cheap to clone; the threads end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct DecodePool(Arc<ThreadPool>);

/// Why a pool does not start: the operating system refuses a thread. The fault is the server's.
#[derive(Debug, thiserror::Error)]
#[error("the operating system refuses the {threads} threads that decode images: {reason}")]
pub struct PoolStartError {
    /// The number of threads of the pool.
    pub threads: usize,
    /// The reason.
    pub reason: ThreadPoolBuildError,
}

/// Why a job has no result. The fault is the server's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The job panicked. The threads keep running.
    #[error("image decoding panicked")]
    Panicked,
}

impl DecodePool {
    /// Starts a pool of `threads` threads, at least one.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn new(threads: usize) -> Result<Self, PoolStartError> {
        // Zero would mean one thread per core.
        let threads = threads.max(1);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("kiln-decode-{index}"))
            // Handles panics outside the job, such as in the destructor of a result without a receiver. The default handler
            // aborts the process.
            .panic_handler(drop)
            .build()
            .map_err(|reason| PoolStartError { threads, reason })?;
        Ok(Self(Arc::new(pool)))
    }

    /// Runs `job` on a thread of the pool. If the returned future is dropped before the job starts, the job is skipped.
    ///
    /// # Errors
    ///
    /// The job panicked.
    pub async fn run<T, F>(&self, job: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        self.0.spawn_fifo(move || {
            if sender.is_closed() {
                metrics::cancelled("decode");
                return;
            }
            // The send fails only if the caller cancelled while the job ran. Then the result is dropped.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(job)));
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
    async fn panic_returns_an_error_and_the_pool_keeps_running() {
        let pool = DecodePool::new(1).unwrap();
        let broken: Result<(), _> = pool.run(|| panic!("a broken decoder")).await;
        assert_eq!(broken, Err(PoolError::Panicked));
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn cancelled_job_is_skipped() {
        let pool = DecodePool::new(1).unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = pool.clone();
        let busy = tokio::spawn(async move { holder.run(move || held.recv().is_ok()).await });
        tokio::task::yield_now().await;
        let (sender, started) = std::sync::mpsc::channel::<()>();
        let cancelled = pool.run(move || sender.send(()).is_ok());
        assert!(futures_util::FutureExt::now_or_never(cancelled).is_none());
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(true));
        assert_eq!(pool.run(|| true).await, Ok(true));
        assert!(started.try_recv().is_err(), "the cancelled job ran");
    }

    #[tokio::test]
    async fn panic_in_the_destructor_of_a_dropped_result_is_contained() {
        struct PanicsOnDrop;
        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                panic!("a broken destructor");
            }
        }
        let pool = DecodePool::new(1).unwrap();
        let (started, begun) = tokio::sync::oneshot::channel();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let holder = pool.clone();
        let work = move || {
            started.send(()).unwrap();
            held.recv().unwrap();
            PanicsOnDrop
        };
        let caller = tokio::spawn(async move { holder.run(work).await.map(drop) });
        begun.await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        assert_eq!(pool.run(|| 7).await, Ok(7));
    }
}

//! Work that blocks, outside the async threads: reading files, parsing long texts.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` on a blocking thread and returns its output. A panic of `work` continues in the caller. If the returned future
/// is dropped, `work` continues to run.
///
/// # Panics
///
/// Panics outside a tokio runtime.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Err(error) if error.is_cancelled() => {
            // The runtime shuts down and is about to drop this future, too.
            pending().await
        }
        joined => resume_panic(joined),
    }
}

/// Returns the output of a task that was not aborted. A panic of the task continues in the caller.
///
/// # Panics
///
/// Panics with the panic of the task, or if the task was aborted.
pub fn resume_panic<T>(joined: Result<T, JoinError>) -> T {
    joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(error) => panic!("{error}"),
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn output_and_panic_of_the_work_reach_the_caller() {
        assert_eq!(run_blocking(|| 3).await, 3);
        let panic = std::panic::AssertUnwindSafe(run_blocking(|| panic!("broken file"))).catch_unwind().await;
        let panic: Result<(), _> = panic;
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"broken file"));
    }
}

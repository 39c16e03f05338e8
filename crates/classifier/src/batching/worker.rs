//! The handle that keeps a batcher's engines at work, and ends them.

use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle as TaskHandle, spawn_blocking};

/// Keeps a batcher's engines at work. Dropping it stops the batcher like [`Worker::shutdown`], but
/// waits for nothing.
#[derive(Debug)]
#[must_use = "a worker that is dropped stops its batcher"]
pub struct Worker {
    /// Dropping it tells the scheduler to stop.
    pub(super) stop: oneshot::Sender<()>,
    pub(super) scheduler: TaskHandle<()>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

impl Worker {
    /// Takes no more pictures, runs and answers those in the queue, and ends the engines' threads.
    /// A picture that is admitted but not submitted yet finds the batcher closed.
    ///
    /// May take as long as the engines need for the queue. If the future is dropped before it is
    /// done, the rest goes on without being waited for.
    pub async fn shutdown(self) {
        drop(self.stop);
        ended(self.scheduler, self.threads).await;
    }

    /// Waits until nobody has the batcher any more and its last picture is answered, which the engines' threads do not
    /// survive. Nobody is turned away meanwhile.
    pub async fn retire(self) {
        ended(self.scheduler, self.threads).await;
        drop(self.stop);
    }
}

/// Waits for the scheduler and the engines.
async fn ended(scheduler: TaskHandle<()>, threads: Vec<JoinHandle<()>>) {
    // Neither can fail the shutdown: a task or thread that panicked has ended too. The task ends
    // after the engines, so that joining is quick and the runtime is never held up by an engine
    // that hangs.
    let _ = scheduler.await;
    let _ = spawn_blocking(move || threads.into_iter().try_for_each(JoinHandle::join)).await;
}

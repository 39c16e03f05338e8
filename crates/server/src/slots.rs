//! The connection cap, and the open files that so many connections need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long the log stays silent about the connection cap after it was mentioned.
const CAP_WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Files that are open beside the connections: logs, devices, the model's caches.
const OTHER_FILES: usize = 256;

/// The connection cap: one permit for each connection that may be open.
pub(super) struct Slots {
    permits: Arc<Semaphore>,
    last_warning: Option<Instant>,
}

impl Slots {
    pub(super) fn new(max_connections: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max_connections)), last_warning: None }
    }

    /// Waits for a free slot. Nothing is accepted meanwhile, so the kernel's backlog holds (and
    /// in the end refuses) the rest; nothing here grows with the number of clients.
    pub(super) async fn free(&mut self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.permits).try_acquire_owned() {
            return slot;
        }
        let said = self.last_warning.map(|at| at.elapsed());
        if said.is_none_or(|ago| ago >= CAP_WARNING_INTERVAL) {
            tracing::warn!("every connection slot is taken; new connections have to wait");
            self.last_warning = Some(Instant::now());
        }
        let slot = Arc::clone(&self.permits).acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }
}

/// Has the operating system allow as many open files as the connections need. A soft limit of 1024 is usual, for programs of
/// another time; every program may raise it up to the hard one.
pub(super) fn open_files(connections: usize) {
    let wanted = (connections + OTHER_FILES) as u64;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed >= wanted => {}
        Ok(allowed) => {
            tracing::warn!(
                allowed,
                wanted,
                "fewer open files are allowed than --max-connections may need; raise the limit (ulimit -Hn)"
            );
        }
        Err(error) => tracing::debug!(%error, "the limit of open files is not known"),
    }
}

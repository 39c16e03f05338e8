//! The thread that tells, beside the log's own lines, what is missing of them.
//!
//! It stands outside of the subscriber: a layer that logs would call itself.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::lost::Teller;
use super::throttle::Throttle;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Tells the rest when it is dropped.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub(super) fn start(throttle: Throttle, mut lost: Teller) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("log-keeper".to_string()).spawn(move || {
            loop {
                let end = stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout);
                let now = Instant::now();
                throttle.tell(now, end);
                lost.tell(now, end);
                if end {
                    break;
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic, and if it did, its last words are all that is lost.
            let _ = thread.join();
        }
    }
}

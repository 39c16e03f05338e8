//! The operating system's signals as requests to stop. What they lead to is decided elsewhere.

use std::io;

use tokio::sync::mpsc;

use super::Request;

/// Room for requests that nobody has looked at yet; only the first two ever matter.
const PENDING: usize = 2;

/// Listens for SIGTERM and SIGINT (on systems other than Unix: Ctrl-C alone).
///
/// From here on these signals no longer end the process by themselves.
///
/// # Errors
///
/// If the operating system refuses to install a handler.
///
/// # Panics
///
/// Outside a tokio runtime.
#[cfg(unix)]
pub fn os_requests() -> io::Result<mpsc::Receiver<Request>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, requests) = mpsc::channel(PENDING);
    tokio::spawn(async move {
        loop {
            let request = tokio::select! {
                Some(()) = terminate.recv() => Request::Terminate,
                Some(()) = interrupt.recv() => Request::Interrupt,
                () = sender.closed() => return,
            };
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    Ok(requests)
}

/// Listens for Ctrl-C.
///
/// # Errors
///
/// Never at once; a handler that cannot be installed is logged.
///
/// # Panics
///
/// Outside a tokio runtime.
#[cfg(not(unix))]
pub fn os_requests() -> io::Result<mpsc::Receiver<Request>> {
    let (sender, requests) = mpsc::channel(PENDING);
    tokio::spawn(async move {
        loop {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::warn!(%error, "cannot listen for Ctrl-C");
                return;
            }
            if sender.send(Request::Interrupt).await.is_err() {
                return;
            }
        }
    });
    Ok(requests)
}

#[cfg(all(test, unix))]
mod tests {
    use super::{Request, os_requests};

    /// Sends this very process a signal, which the handler installed before keeps harmless.
    fn send_self(signal: &str) {
        let status =
            std::process::Command::new("kill").args(["-s", signal, &std::process::id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    #[tokio::test]
    async fn signals_become_requests() {
        let mut requests = os_requests().unwrap();
        send_self("TERM");
        assert_eq!(requests.recv().await, Some(Request::Terminate));
        send_self("INT");
        assert_eq!(requests.recv().await, Some(Request::Interrupt));
    }
}

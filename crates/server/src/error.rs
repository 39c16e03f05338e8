//! Why the server cannot start or go on. A client's misbehaviour is never one of these.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// A failure of the listener; all but [`Accept`](Self::Accept) are the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A setting is out of its range.
    #[error("{setting} {problem}")]
    Setting {
        /// The field of [`Config`](super::Config).
        setting: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {advice}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What to do about it.
        advice: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The listening socket broke and will never give a connection again.
    #[error("the listening socket is broken; start the server again")]
    Accept(#[source] io::Error),
}

impl ServeError {
    pub(super) fn bind(address: SocketAddr, source: io::Error) -> Self {
        let advice = match source.kind() {
            ErrorKind::AddrInUse => "another program listens there already; stop it or choose another port",
            ErrorKind::PermissionDenied => "this user may not use that port; choose one from 1024 upwards",
            ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; 0.0.0.0 or [::] means every one it has"
            }
            _ => "the operating system refuses; its reason follows",
        };
        Self::Bind { address, advice, source }
    }
}

//! The accept loop: connections in, requests to an endpoint, a clean end.
//!
//! It speaks HTTP/1 and HTTP/2, on a plain TCP socket (h2c by prior knowledge) or over TLS (by ALPN), and knows nothing
//! of routes, models or error bodies. What a client can do to it is bounded:
//!
//! | a client that | meets | where |
//! |---|---|---|
//! | does not finish the TLS handshake | [`Config::header_read_timeout`] | `tls` |
//! | says nothing, or half a header | [`Config::header_read_timeout`] | `activity` |
//! | stops in the middle of a body, or sends it in drops | [`Config::body_timeout`] and [`Config::min_body_rate`], see [`BodyProgress`] | `body` |
//! | keeps an unused connection, or does not read its answer | [`Config::idle_timeout`] (over HTTP/2 from the last answer on, pings or not) | `activity` |
//! | sends endless headers | [`Config::max_header_bytes`], answered with 431 | `connection` |
//! | sends many requests at once over HTTP/2 | 16 at a time; the rest wait with the client | `connection` |
//! | opens many connections | [`Config::max_connections`]; the rest wait in the kernel | `slots` |
//! | is still there when the server closes | a last call for its next request, the shutdown's grace for those under way | `activity` |
//!
//! On the way out nothing that was accepted is lost. While the server drains, each answer tells its client to connect anew
//! (`Connection: close`, GOAWAY). When it closes, the connections that wait in the kernel are taken in, the listener is
//! closed, and each connection may still bring the request that is on its way.
#![forbid(unsafe_code)]

pub mod auth;
mod accept;
mod activity;
mod body;
mod config;
mod connection;
mod error;
mod slots;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod watchdog;

use std::net::SocketAddr;
use std::sync::Arc;

use poem::{EndpointExt, IntoEndpoint};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{JoinError, JoinSet};

use kiln_runtime::shutdown::{Signal, Stage};
use connection::{Outcome, Shared};
use slots::Slots;

pub use body::BodyProgress;
pub use config::Config;
pub use error::ServeError;
pub use tls::{Tls, TlsError};

/// A bound listener that is not accepting yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    tls: Option<Arc<Tls>>,
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Server {
    /// Binds `config.listen`. From here on the kernel takes connections in, up to its backlog;
    /// they are served once [`run`](Self::run) is called, encrypted if there is `tls`.
    ///
    /// # Errors
    ///
    /// [`ServeError::Setting`] for a setting out of its range and [`ServeError::Bind`] if the
    /// operating system does not give the address.
    pub async fn bind(config: Config, tls: Option<Arc<Tls>>) -> Result<Self, ServeError> {
        config.check()?;
        let cannot_bind = |error| ServeError::bind(config.listen, error);
        slots::open_files(config.max_connections);
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_bind)?;
        let local_addr = listener.local_addr().map_err(cannot_bind)?;
        Ok(Self { config, tls, listener, local_addr })
    }

    /// The address that was bound, with the port that port 0 became.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` reaches [`Stage::Closing`], then answers what is in flight, and
    /// drops what is left at [`Stage::Ended`]. Dropping this future drops every connection.
    ///
    /// # Errors
    ///
    /// [`ServeError::Accept`] if the listener itself breaks, which also drops every connection;
    /// everything else is survived.
    pub async fn run<E>(self, endpoint: E, shutdown: Signal) -> Result<(), ServeError>
    where
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        // Ends with this future.
        let mut renewal = JoinSet::new();
        if let Some(tls) = &self.tls {
            renewal.spawn(Arc::clone(tls).keep_up());
        }
        let shared = Arc::new(Shared {
            config: self.config,
            tls: self.tls,
            endpoint: endpoint.map_to_response().boxed(),
            local_addr: self.local_addr,
            shutdown: shutdown.clone(),
        });
        let mut slots = Slots::new(self.config.max_connections);
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let slot = slots.free().await;
                (slot, accept::next(|| self.listener.accept()).await)
            };
            let (slot, accepted) = select! {
                biased;
                () = shutdown.reached(Stage::Closing) => break,
                next = next => next,
            };
            let (stream, peer) = accepted.map_err(ServeError::Accept)?;
            connections.spawn(connection::serve(stream, peer, Arc::clone(&shared), slot));
            while let Some(ended) = connections.try_join_next() {
                outcome(ended);
            }
        }
        // Whoever connected before now is served; from here on the kernel refuses.
        for (stream, peer) in backlog(self.listener) {
            let slot = select! {
                biased;
                () = shutdown.reached(Stage::Ended) => break,
                slot = slots.free() => slot,
            };
            connections.spawn(connection::serve(stream, peer, Arc::clone(&shared), slot));
        }
        finish(connections).await;
        Ok(())
    }
}

/// Closes the listener and gives the connections that were waiting in it.
fn backlog(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let listener = match listener.into_std() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "connections that were waiting are lost");
            return Vec::new();
        }
    };
    let with_tokio = |(stream, peer): (std::net::TcpStream, _)| {
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok().map(|stream| (stream, peer))
    };
    accept::waiting(|| listener.accept()).filter_map(with_tokio).collect()
}

/// Waits for the connections that are left, which end by themselves at [`Stage::Ended`].
async fn finish(mut connections: JoinSet<Outcome>) {
    tracing::info!(open = connections.len(), "no new connections from here on");
    let mut aborted = 0_usize;
    while let Some(ended) = connections.join_next().await {
        aborted += usize::from(outcome(ended) == Outcome::Aborted);
    }
    if aborted > 0 {
        tracing::warn!(aborted, "dropped connections that did not finish in time");
    }
}

fn outcome(ended: Result<Outcome, JoinError>) -> Outcome {
    ended.unwrap_or_else(|error| {
        tracing::error!(%error, "a request panicked outside its guard; its connection is lost");
        Outcome::Closed
    })
}

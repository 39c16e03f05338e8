//! The listener and its accept loop. The loop is our own because poem's server has no read timeouts and no connection limit, and
//! hyper-util's graceful shutdown does not serve the connections in the listen backlog.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use poem::{EndpointExt, IntoEndpoint};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::task::{JoinError, JoinSet};

use crate::accept::{self, ConnectionLimit};
use crate::config::{Config, ServerError};
use crate::connection::{self, Outcome, Shared};
use crate::tls::Tls;
use kiln_runtime::shutdown::{ShutdownSignal, Stage};

/// Size of the listen backlog, which the kernel limits to `net.core.somaxconn`. Connections of a burst wait there while all cores
/// compute. With the 128 of [`TcpListener::bind`], the kernel reset some connections of 400 clients that began at once.
const BACKLOG: u32 = 4096;

/// A bound listener that does not accept connections yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    tls: Option<Arc<Tls>>,
    listener: TcpListener,
    local_addr: SocketAddr,
}

impl Server {
    /// Binds `config.listen`. From now on the kernel queues connections up to the size of its listen backlog. [`run`](Self::run)
    /// serves them, over TLS if `tls` is given. Its certificate is reloaded by [`Tls::watch`], which the caller runs.
    ///
    /// # Errors
    ///
    /// Returns [`ServerError::Setting`] if a setting is out of range, and [`ServerError::Bind`] if the address cannot be bound.
    pub async fn bind(config: Config, tls: Option<Arc<Tls>>) -> Result<Self, ServerError> {
        config.check()?;
        let bind_error = |error| ServerError::bind(config.listen, error);
        accept::raise_open_file_limit(config.max_connections);
        let listener = listen(config.listen).map_err(bind_error)?;
        let local_addr = listener.local_addr().map_err(bind_error)?;
        Ok(Self { config, tls, listener, local_addr })
    }

    /// Returns the bound address. If the configured port is 0, it has the port that the operating system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves connections until `shutdown` reaches [`Stage::Closing`], then waits for the requests in progress, and drops the
    /// remaining connections at [`Stage::Ended`]. Dropping the returned future drops every connection.
    ///
    /// # Errors
    ///
    /// Returns [`ServerError::Accept`] if the listening socket is broken, which also drops every connection. Every other error
    /// is logged, and the server continues.
    pub async fn run<E>(self, endpoint: E, shutdown: ShutdownSignal) -> Result<(), ServerError>
    where
        E: IntoEndpoint,
        E::Endpoint: 'static,
    {
        let shared = Arc::new(Shared {
            config: self.config,
            tls: self.tls,
            endpoint: endpoint.map_to_response().boxed(),
            local_addr: self.local_addr,
            shutdown: shutdown.clone(),
        });
        let mut limit = ConnectionLimit::new(self.config.max_connections);
        let mut connections = JoinSet::new();
        loop {
            let next = async {
                let permit = limit.acquire().await;
                (permit, accept::accept_with_retry(|| self.listener.accept()).await)
            };
            let (permit, accepted) = select! {
                biased;
                () = shutdown.reached(Stage::Closing) => break,
                next = next => next,
            };
            let (stream, peer) = accepted.map_err(ServerError::Accept)?;
            connections.spawn(connection::serve(stream, peer, Arc::clone(&shared), permit));
            while let Some(ended) = connections.try_join_next() {
                outcome(ended);
            }
        }
        // Connections that the kernel accepted before the listener closes are served; it refuses later ones.
        for (stream, peer) in close_and_drain(self.listener) {
            let permit = select! {
                biased;
                () = shutdown.reached(Stage::Ended) => break,
                permit = limit.acquire() => permit,
            };
            connections.spawn(connection::serve(stream, peer, Arc::clone(&shared), permit));
        }
        wait_for_connections(connections).await;
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As `TcpListener::bind` does: a restarted server binds while closed connections of the old one are still known.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Closes the listener and returns the connections of its backlog.
fn close_and_drain(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let listener = match listener.into_std() {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "connections in the listen backlog are lost");
            return Vec::new();
        }
    };
    let into_tokio = |(stream, peer): (std::net::TcpStream, _)| {
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok().map(|stream| (stream, peer))
    };
    accept::drain_backlog(|| listener.accept()).filter_map(into_tokio).collect()
}

/// Waits for the open connections, each of which ends by [`Stage::Ended`].
async fn wait_for_connections(mut connections: JoinSet<Outcome>) {
    tracing::info!(open = connections.len(), "the server accepts no new connections");
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
        tracing::error!(%error, "a connection task panicked; the connection is lost");
        Outcome::Closed
    })
}

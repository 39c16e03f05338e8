//! The HTTP server below the API: accept loop, connections, TLS, timeouts, graceful shutdown, and authentication ([`auth`]).
//!
//! It serves HTTP/1 and HTTP/2, over plain TCP (h2c with prior knowledge) or over TLS (with ALPN), and knows nothing of routes,
//! models or error bodies. Every resource that a client can occupy is bounded:
//!
//! | client behaviour | limit | module |
//! |---|---|---|
//! | does not finish the TLS handshake | [`Config::header_read_timeout`] | `tls` |
//! | sends no request head, or half of one | [`Config::header_read_timeout`] | `connection_timeouts` |
//! | stops in the middle of a body, or sends it slowly | [`Config::body_timeout`] and [`Config::min_body_rate`]; the body ends with an error of the kind [`TimedOut`](std::io::ErrorKind::TimedOut) | `timed_body` |
//! | keeps an unused connection, or does not read its response | [`Config::idle_timeout`] (on HTTP/2 since the last response, with or without pings) | `connection_timeouts` |
//! | sends a huge request head | [`Config::max_header_bytes`], answered with 431 | `connection` |
//! | sends many concurrent requests over HTTP/2 | 16 at a time; the client holds the rest | `connection` |
//! | opens many connections | [`Config::max_connections`]; further ones wait in the listen backlog | `accept` |
//! | is still connected when the server closes | a short grace for the next request, and the shutdown grace for requests in progress | `connection_timeouts` |
//!
//! A graceful shutdown loses no accepted request. While the server drains, each response asks its client to reconnect
//! (`Connection: close` on HTTP/1, GOAWAY on HTTP/2). When the server closes, it accepts the connections in the listen backlog,
//! closes the listener, and waits for a request that is already on its way on each connection.
#![forbid(unsafe_code)]

mod accept;
pub mod auth;
mod certificate_expiry;
mod config;
mod connection;
mod connection_timeouts;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod timed_body;
mod tls;
mod watchdog;

pub use accept::open_files_needed;
pub use certificate_expiry::{CertificateExpiry, certificate_expiry};
pub use config::{Config, ServerError, connectable_address};
pub use server::Server;
pub use tls::{Tls, TlsError};

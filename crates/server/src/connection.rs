//! Serves one connection: TLS handshake, HTTP, timeouts, and its part of the graceful shutdown. `connection_timeouts` documents the
//! states of a connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::endpoint::BoxEndpoint;
use poem::http::Version;
use poem::http::header::{CONNECTION, EXPECT, HeaderValue};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint, Request, RequestParts, Response};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::sleep;

use crate::config::Config;
use crate::connection_timeouts::{ConnectionTracker, PARTIAL_REQUEST_GRACE, TimeLimit};
use crate::socket::{Socket, Stream};
use crate::timed_body::{BodyLimits, BodyRest, TimedBody};
use crate::tls::Tls;
use crate::watchdog::Watchdog;
use kiln_runtime::shutdown::{ShutdownSignal, Stage};
use kiln_runtime::telemetry::metrics::OpenConnection;

/// Maximum number of concurrent requests on one HTTP/2 connection. Each of them may hold a body.
pub(super) const MAX_STREAMS: u32 = 16;

/// Data that all connections of a server share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) endpoint: BoxEndpoint<'static, Response>,
    pub(super) local_addr: SocketAddr,
    pub(super) shutdown: ShutdownSignal,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client closed it, a timeout expired, or all of its requests were answered.
    Closed,
    /// The shutdown grace ended while a request was unfinished.
    Aborted,
}

/// Serves one connection. Its permit is released when this future returns, panics or is dropped.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
) -> Outcome {
    let _open_connection = OpenConnection::new();
    let shutdown = &shared.shutdown;
    let stream = select! {
        biased;
        opened = open(stream, &shared) => match opened {
            Ok(stream) => stream,
            Err(error) => return closed(Err(error), peer),
        },
        () = shutdown.reached(Stage::Ended) => return Outcome::Aborted,
        // A handshake in progress gets the same grace as a partial request head.
        () = after_closing(shutdown) => return Outcome::Closed,
    };
    let scheme = if stream.is_encrypted() { Scheme::HTTPS } else { Scheme::HTTP };
    let tracker = ConnectionTracker::new(&shared.config);
    let mut watchdog = Watchdog::new(Arc::clone(&tracker));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&tracker)));
    let answered_during_shutdown = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (request_guard, version) = (tracker.begin_request(request.version()), request.version());
        let (shared, tracker, scheme) = (Arc::clone(&shared), Arc::clone(&tracker), scheme.clone());
        let answered_during_shutdown = Arc::clone(&answered_during_shutdown);
        async move {
            let (rest, waits_to_send) = (BodyRest::default(), request.headers().contains_key(EXPECT));
            let mut response = handle(request, peer, scheme, &shared, rest.clone()).await;
            // A client that waits for '100 Continue' would get it if the body was read.
            let is_complete = !rest.is_some() || version < Version::HTTP_2 && !waits_to_send && rest.discard().await;
            if !is_complete {
                tracker.record_unread_body();
            }
            drop(request_guard);
            match (shared.shutdown.stage(), version) {
                (Stage::Serving, _) if is_complete || version == Version::HTTP_2 => {}
                (_, Version::HTTP_2) => answered_during_shutdown.notify_one(),
                _ => drop(response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"))),
            }
            Ok::<_, Infallible>(response)
        }
    });
    let protocol = protocol(&shared.config);
    let mut connection = pin!(protocol.serve_connection(socket, service));
    let (mut draining, mut closing) = (false, false);
    loop {
        // During a shutdown, HTTP/2 clients get a GOAWAY frame, and HTTP/1 clients a `Connection: close` header with their next
        // response.
        select! {
            biased;
            result = connection.as_mut() => return closed(result, peer),
            () = shutdown.reached(Stage::Ended) => return Outcome::Aborted,
            limit = watchdog.expired() => {
                tracing::debug!(%peer, ?limit, "closing a connection after a timeout");
                if limit != TimeLimit::Idle {
                    return Outcome::Closed;
                }
                tracker.begin_closing();
                connection.as_mut().graceful_shutdown();
            }
            () = shutdown.reached(Stage::Draining), if !draining => {
                draining = true;
                if tracker.is_http2() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = shutdown.reached(Stage::Closing), if !closing => {
                closing = true;
                tracker.begin_server_closing();
            }
            () = answered_during_shutdown.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn after_closing(shutdown: &ShutdownSignal) {
    shutdown.reached(Stage::Closing).await;
    sleep(PARTIAL_REQUEST_GRACE).await;
}

/// Returns the byte stream of the connection, after the handshake if the server uses TLS.
async fn open(stream: TcpStream, shared: &Shared) -> io::Result<Stream> {
    match &shared.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => {
            tls.handshake(stream, shared.config.header_read_timeout).await.map(|s| Stream::Encrypted(s.into()))
        }
    }
}

/// Configures hyper for HTTP/1 and HTTP/2, which it distinguishes by the first bytes. hyper's own header timeout stays off: it would
/// also be the idle timeout, see `connection_timeouts`.
fn protocol(config: &Config) -> auto::Builder<TokioExecutor> {
    let header_list = u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(config.max_header_bytes);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(header_list).max_concurrent_streams(MAX_STREAMS);
    builder
}

/// Converts a request from hyper to poem, calls the endpoint, and converts the response back.
async fn handle(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    scheme: Scheme,
    shared: &Shared,
    rest: BodyRest,
) -> hyper::Response<BoxBody<Bytes, std::io::Error>> {
    let (parts, incoming) = request.into_parts();
    let limits = BodyLimits { pause: shared.config.body_timeout, rate: shared.config.min_body_rate };
    let body = TimedBody::new(incoming, limits, rest);
    let local = LocalAddr(shared.local_addr.into());
    let parts = RequestParts::from((parts, local, RemoteAddr(peer.into()), scheme));
    let request = Request::from_parts(parts, Body::from(body.boxed()));
    shared.endpoint.get_response(request).await.into()
}

fn closed<E: std::fmt::Display>(result: Result<(), E>, peer: SocketAddr) -> Outcome {
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
    Outcome::Closed
}

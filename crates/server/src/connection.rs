//! One connection, from its first byte to its last. How many there are is not its business.

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
use poem::http::header::{CONNECTION, HeaderValue};
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint, Request, RequestParts, Response};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::sleep;

use super::Config;
use super::activity::{Activity, Limit, SHORT_FAREWELL};
use super::body::{Pace, TimedBody};
use super::socket::Socket;
use super::stream::Stream;
use super::tls::Tls;
use super::watchdog::Watchdog;
use kiln_runtime::shutdown::{Signal, Stage};
use kiln_runtime::telemetry::metrics::OpenConnection;

/// Requests of one HTTP/2 connection that are served at once. Each may hold a body, as each HTTP/1 connection may.
pub(super) const MAX_STREAMS: u32 = 16;

/// What every connection of a server has in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) endpoint: BoxEndpoint<'static, Response>,
    pub(super) local_addr: SocketAddr,
    pub(super) shutdown: Signal,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// By the client, by a time-out or with all its requests answered.
    Closed,
    /// By the end of the shutdown's grace, with something unfinished.
    Aborted,
}

/// Serves one connection; its slot is free again when this returns, panics or is dropped.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
) -> Outcome {
    let _counted = OpenConnection::begin();
    let shutdown = &shared.shutdown;
    let stream = select! {
        biased;
        opened = open(stream, &shared) => match opened {
            Ok(stream) => stream,
            Err(error) => return closed(Err(error), peer),
        },
        () = shutdown.reached(Stage::Ended) => return Outcome::Aborted,
        // A handshake that is on its way is waited for like half a header.
        () = after_closing(shutdown) => return Outcome::Closed,
    };
    let scheme = if stream.is_encrypted() { Scheme::HTTPS } else { Scheme::HTTP };
    let activity = Activity::new(&shared.config);
    let mut watchdog = Watchdog::new(Arc::clone(&activity));
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
    let answered_while_leaving = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (handling, version) = (activity.handle(request.version()), request.version());
        let (shared, activity, scheme) = (Arc::clone(&shared), Arc::clone(&activity), scheme.clone());
        let answered_while_leaving = Arc::clone(&answered_while_leaving);
        async move {
            let mut answer = answer(request, peer, scheme, &shared, activity).await;
            drop(handling);
            match (shared.shutdown.stage(), version) {
                (Stage::Serving, _) => {}
                (_, Version::HTTP_2) => answered_while_leaving.notify_one(),
                _ => drop(answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"))),
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let protocol = protocol(&shared.config);
    let mut connection = pin!(protocol.serve_connection(socket, service));
    let (mut draining, mut closing) = (false, false);
    loop {
        // Over HTTP/2 a client is told to go elsewhere with its next request; over HTTP/1 its next answer says so.
        select! {
            biased;
            result = connection.as_mut() => return closed(result, peer),
            () = shutdown.reached(Stage::Ended) => return Outcome::Aborted,
            limit = watchdog.expired() => {
                tracing::debug!(%peer, ?limit, "closing a connection that took too long");
                if limit != Limit::Idle {
                    return Outcome::Closed;
                }
                activity.leave();
                connection.as_mut().graceful_shutdown();
            }
            () = shutdown.reached(Stage::Draining), if !draining => {
                draining = true;
                if activity.is_http2() {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = shutdown.reached(Stage::Closing), if !closing => {
                closing = true;
                activity.close();
            }
            () = answered_while_leaving.notified() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn after_closing(shutdown: &Signal) {
    shutdown.reached(Stage::Closing).await;
    sleep(SHORT_FAREWELL).await;
}

/// The connection's bytes in the clear, after the handshake if there is one.
async fn open(stream: TcpStream, shared: &Shared) -> io::Result<Stream> {
    match &shared.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => tls.accept(stream, shared.config.header_read_timeout).await.map(|s| Stream::Encrypted(s.into())),
    }
}

/// HTTP/1 or HTTP/2, told apart by the first bytes. hyper's own header time-out stays off: it
/// would also be the idle time-out, see `activity`.
fn protocol(config: &Config) -> auto::Builder<TokioExecutor> {
    let header_list = u32::try_from(config.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(config.max_header_bytes);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(header_list).max_concurrent_streams(MAX_STREAMS);
    builder
}

async fn answer(
    request: hyper::Request<Incoming>,
    peer: SocketAddr,
    scheme: Scheme,
    shared: &Shared,
    activity: Arc<Activity>,
) -> hyper::Response<BoxBody<Bytes, std::io::Error>> {
    let (mut parts, incoming) = request.into_parts();
    let pace = Pace { pause: shared.config.body_timeout, rate: shared.config.min_body_rate };
    let body = TimedBody::new(incoming, pace, activity);
    parts.extensions.insert(body.progress());
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

//! Overload: at three times its capacity the server keeps its goodput within the deadline, and rejects the rest with 429 and
//! `Retry-After`.
//!
//! The default is 6 seconds of overload. A longer run:
//! `KILN_OVERLOAD_SECONDS=60 cargo test --release --test performance overload -- --nocapture`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kiln::app::{HttpConnection, post_request};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::common::{KEY, Server, alone, bytes, resident_bytes};

/// The request timeout of the server, and the limit for the latency of a served request.
const DEADLINE: Duration = Duration::from_millis(1000);
/// The maximum number of requests in flight.
const CONNECTIONS: usize = 400;

/// The result of a load.
#[derive(Default)]
struct Load {
    /// Latencies of the answers.
    served: Vec<Duration>,
    rejected: usize,
    elapsed: Duration,
}

impl Load {
    /// Returns the number of answers within the deadline per second.
    fn goodput(&self) -> f64 {
        self.served.iter().filter(|latency| **latency <= DEADLINE).count() as f64 / self.elapsed.as_secs_f64()
    }

    fn quantile(&self, part: f64) -> Duration {
        quantile(self.served.clone(), part)
    }
}

fn quantile(mut times: Vec<Duration>, part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize]
}

/// Sends `rate` requests per second independently of the answers (open loop). Without a rate, each connection sends its next
/// request after its previous answer (closed loop).
async fn load(address: SocketAddr, connections: usize, rate: Option<f64>, time: Duration) -> Load {
    let request: Arc<[u8]> = post_request("/predict/raw", KEY, "", &bytes("photos/cat_640x480.jpg")).into();
    let (started, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (request, next) = (Arc::clone(&request), Arc::clone(&next));
        clients.spawn(async move {
            let (mut connection, mut load) = (HttpConnection::open(address).await.unwrap(), Load::default());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as f64;
                let due = rate.map_or_else(Instant::now, |rate| started + Duration::from_secs_f64(number / rate));
                if due >= started + time {
                    return load;
                }
                sleep_until(due.into()).await;
                let sent = Instant::now();
                let answer = connection.exchange(&request).await.unwrap();
                match answer.status {
                    200 => load.served.push(sent.elapsed()),
                    429 | 504 => {
                        let head = String::from_utf8_lossy(answer.head).to_ascii_lowercase();
                        assert!(head.contains("\r\nretry-after: "), "{head}");
                        load.rejected += 1;
                    }
                    status => panic!("{status}: {}", String::from_utf8_lossy(answer.body)),
                }
            }
        });
    }
    let mut all = Load::default();
    for load in clients.join_all().await {
        all.served.extend(load.served);
        all.rejected += load.rejected;
    }
    all.elapsed = started.elapsed();
    all
}

/// Probes a path every 50 ms and returns the latencies.
async fn probes(address: SocketAddr, path: &str, time: Duration) -> Vec<Duration> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: kiln\r\n\r\n");
    let (started, mut times) = (Instant::now(), Vec::new());
    let mut connection = HttpConnection::open(address).await.unwrap();
    while started.elapsed() < time {
        let sent = Instant::now();
        assert_eq!(connection.exchange(request.as_bytes()).await.unwrap().status, 200);
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    times
}

/// Returns the growth of the peak memory in MB from the second to the last quarter of the time. The queue is full by the
/// second quarter, so any later growth is a leak.
async fn growth(process: u32, time: Duration) -> Option<f64> {
    let (started, mut peak) = (Instant::now(), [0.0_f64; 4]);
    while started.elapsed() < time {
        let quarter = (started.elapsed().as_secs_f64() / time.as_secs_f64() * 4.0) as usize;
        peak[quarter.min(3)] = peak[quarter.min(3)].max(resident_bytes(process)? as f64 / 1e6);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(peak[3] - peak[1])
}

/// Offers three times the capacity of the server for `time`. Returns an error if the goodput or a probe suffered.
fn round(server: &Server, runtime: &Runtime, time: Duration) -> Result<(), String> {
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().unwrap();
    let peak = runtime.block_on(load(address, 16, None, time / 2)).goodput();
    let process = server.process_id();
    let (overload, live, metrics, grown) = runtime.block_on(async {
        let overload = tokio::spawn(load(address, CONNECTIONS, Some(3.0 * peak), time));
        let live = tokio::spawn(async move { probes(address, "/health/live", time).await });
        let metrics = tokio::spawn(async move { probes(address, "/metrics", time).await });
        let grown = growth(process, time).await;
        let overload = overload.await.unwrap();
        (overload, live.await.unwrap(), metrics.await.unwrap(), grown)
    });
    let (goodput, p99) = (overload.goodput(), overload.quantile(0.99));
    let probed = [live, metrics].map(|times| [0.5, 0.95, 1.0].map(|part| quantile(times.clone(), part)));
    println!(
        "peak {peak:.0} per second; offered {:.0}: {goodput:.0} in time ({:.2} of the peak), p99 {p99:?}, {} rejected; \
         live and metrics (median, p95, maximum) {probed:?}; memory {grown:?} MB between the second and the last quarter",
        3.0 * peak,
        goodput / peak,
        overload.rejected
    );
    // These hold however busy the machine is.
    assert!(p99 <= DEADLINE, "p99 of the served requests: {p99:?}");
    assert!(overload.rejected > overload.served.len(), "most of three times the capacity must be rejected");
    assert!(grown.is_none_or(|megabytes| megabytes < 20.0), "memory grew by {grown:?} MB");
    if goodput < 0.9 * peak {
        return Err(format!("goodput fell to {:.2} of the peak", goodput / peak));
    }
    match probed.into_iter().map(|[_, p95, _]| p95).find(|p95| *p95 >= Duration::from_millis(50)) {
        Some(p95) => Err(format!("a probe takes {p95:?}")),
        None => Ok(()),
    }
}

#[test]
fn overload_keeps_goodput_and_rejects_the_rest_with_retry_after() {
    let _alone = alone();
    let seconds = std::env::var("KILN_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let time = Duration::from_secs(seconds);
    let server = Server::start(&["--device", "cpu", "--request-timeout", "1s", "--log-level", "warn,kiln::app=info"]);
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(load(address, 16, None, Duration::from_secs(1)));
    // Other programs may use the processors during a round. A server that collapses under overload fails every round.
    let errors: Vec<String> = (0..3).map_while(|_| round(&server, &runtime, time).err()).collect();
    assert!(errors.len() < 3, "{errors:?}");
}

//! Three times as many requests as the server can serve: it serves as many as before, those in time, and tells the others at
//! once when to come again.
//!
//! 6 seconds of overload; the long form is `KILN_OVERLOAD_SECONDS=60 cargo test --release --test overload -- --nocapture`.
#![forbid(unsafe_code)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{KEY, Server, bytes, memory};
use kiln::app::{Connection, post};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// What a client waits for at most.
const DEADLINE: Duration = Duration::from_millis(1000);
/// As many as can wait for an answer or a refusal at a time.
const CONNECTIONS: usize = 400;

/// What became of a load.
#[derive(Default)]
struct Load {
    /// Latencies of the answers.
    served: Vec<Duration>,
    refused: usize,
    took: Duration,
}

impl Load {
    /// Answers in time, a second.
    fn goodput(&self) -> f64 {
        self.served.iter().filter(|latency| **latency <= DEADLINE).count() as f64 / self.took.as_secs_f64()
    }

    fn quantile(&self, part: f64) -> Duration {
        quantile(self.served.clone(), part)
    }
}

fn quantile(mut times: Vec<Duration>, part: f64) -> Duration {
    times.sort();
    times[((times.len() - 1) as f64 * part) as usize]
}

/// Requests at times that do not depend on answers, `rate` a second; as fast as answers come where there is no rate.
async fn load(address: SocketAddr, connections: usize, rate: Option<f64>, time: Duration) -> Load {
    let request: Arc<[u8]> = post("/predict/raw", KEY, "", &bytes("photos/cat_640x480.jpg")).into();
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let (request, next) = (Arc::clone(&request), Arc::clone(&next));
        clients.spawn(async move {
            let (mut connection, mut load) = (Connection::open(address).await.unwrap(), Load::default());
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed) as f64;
                let due = rate.map_or_else(Instant::now, |rate| begun + Duration::from_secs_f64(turn / rate));
                if due >= begun + time {
                    return load;
                }
                sleep_until(due.into()).await;
                let sent = Instant::now();
                let answer = connection.exchange(&request).await.unwrap();
                match answer.status {
                    200 => load.served.push(sent.elapsed()),
                    429 => {
                        let head = String::from_utf8_lossy(answer.head).to_ascii_lowercase();
                        assert!(head.contains("\r\nretry-after: "), "{head}");
                        load.refused += 1;
                    }
                    status => panic!("{status}: {}", String::from_utf8_lossy(answer.body)),
                }
            }
        });
    }
    let mut all = Load::default();
    for load in clients.join_all().await {
        all.served.extend(load.served);
        all.refused += load.refused;
    }
    all.took = begun.elapsed();
    all
}

/// How long an address takes to answer, now and then during that time.
async fn probes(address: SocketAddr, path: &str, time: Duration) -> Vec<Duration> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: kiln\r\n\r\n");
    let (begun, mut times) = (Instant::now(), Vec::new());
    let mut connection = Connection::open(address).await.unwrap();
    while begun.elapsed() < time {
        let sent = Instant::now();
        assert_eq!(connection.exchange(request.as_bytes()).await.unwrap().status, 200);
        times.push(sent.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    times
}

/// By how much more MB a process has at its most in the last quarter of the time than in the second: the queue has filled by
/// then, and what comes after is growth.
async fn growth(process: u32, time: Duration) -> Option<f64> {
    let (begun, mut most) = (Instant::now(), [0.0_f64; 4]);
    while begun.elapsed() < time {
        let quarter = (begun.elapsed().as_secs_f64() / time.as_secs_f64() * 4.0) as usize;
        most[quarter.min(3)] = most[quarter.min(3)].max(memory::resident(process)? as f64 / 1e6);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(most[3] - most[1])
}

/// Offers three times what the server can do for that long, and gives back what was wrong with that.
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
        "peak {peak:.0} a second; offered {:.0}: {goodput:.0} in time ({:.2} of the peak), p99 {p99:?}, {} refused; \
         live and metrics (median, p95, most) {probed:?}; memory {grown:?} MB between the second and the last quarter",
        3.0 * peak,
        goodput / peak,
        overload.refused
    );
    // However busy the machine is with others.
    assert!(p99 <= DEADLINE, "p99 of those who were served: {p99:?}");
    assert!(overload.refused > overload.served.len(), "three times as much was offered");
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
fn at_three_times_its_capacity_a_server_does_what_it_can_and_is_honest_to_the_others() {
    let seconds = std::env::var("KILN_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let time = Duration::from_secs(seconds);
    let server = Server::start(&["--device", "cpu", "--request-timeout", "1s", "--log-level", "warn,kiln::app=info"]);
    let address: SocketAddr = server.url.trim_start_matches("http://").parse().unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(load(address, 16, None, Duration::from_secs(1)));
    // Other programs may take the processors in the middle of a round. A server that falls over does so in each.
    let wrong: Vec<String> = (0..3).map_while(|_| round(&server, &runtime, time).err()).collect();
    assert!(wrong.len() < 3, "{wrong:?}");
}

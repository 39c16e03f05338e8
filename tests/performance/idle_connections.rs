//! Requests are served beside ten thousand idle connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Server, alone, bytes, resident_bytes, until};

/// Longer than it takes to accept all connections.
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn requests_are_served_beside_ten_thousand_idle_connections() {
    const IDLE: usize = 10_000;
    let _alone = alone();
    // The limit of this process; the server raises its own limit.
    let allowed = rlimit::increase_nofile_limit(IDLE as u64 + 500).unwrap();
    if allowed < IDLE as u64 + 500 {
        eprintln!("skipped: only {allowed} open files are allowed (ulimit -Hn)");
        return;
    }
    let server = Server::start(&["--device", "cpu", "--max-connections", "11000", "--header-timeout", "10m"]);
    let address = server.url.trim_start_matches("http://");
    let cat = bytes("photos/cat_640x480.jpg");
    server.raw("/predict/raw", &cat).top1();
    let before = resident_bytes(server.process_id());
    let idle: Vec<TcpStream> = (0..IDLE).map(|_| TcpStream::connect(address).unwrap()).collect();
    let open = || server.metric("kiln_open_connections", &[]);
    until("all connections", TIMEOUT, || open() >= IDLE as f64, || open().to_string());
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let sent = Instant::now();
            assert_eq!(server.raw("/predict/raw", &cat).top1(), 285);
            sent.elapsed()
        })
        .collect();
    times.sort();
    let after = resident_bytes(server.process_id());
    let each = before.zip(after).map(|(before, after)| after.saturating_sub(before) / IDLE);
    println!("beside {IDLE} idle connections a request takes {:?} (median); {each:?} bytes per connection", times[10]);
    assert!(times[10] < Duration::from_secs(1), "{times:?}");
    assert!(each.is_none_or(|bytes| bytes < 16 * 1024), "{each:?} bytes per idle connection");
    drop(idle);
}

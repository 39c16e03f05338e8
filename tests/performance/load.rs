//! Many clients with different images, and many idle connections.
//!
//! The 200 clients run for 5 seconds, or for 30 if `CI` is set; `KILN_LOAD_SECONDS` overrides the duration.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{KEY, Server, agent, alone, bytes, is_ci, peak_resident_bytes, read, resident_bytes, until};

const CLIENTS: usize = 200;
/// Longer than it takes to accept all idle connections.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(20);

/// Each file with the classes that its top prediction may have.
const IMAGES: [(&str, std::ops::RangeInclusive<u64>); 7] = [
    ("photos/cat_640x480.jpg", 281..=285),
    ("photos/coffee_640x480.jpg", 967..=967),
    ("photos/flower_640x480.jpg", 985..=985),
    ("photos/rocket_640x480.jpg", 657..=657),
    ("variants/cat.png", 281..=285),
    ("variants/cat.gif", 281..=285),
    ("variants/cat_progressive.jpg", 281..=285),
];

#[test]
fn concurrent_clients_get_the_prediction_of_their_own_image() {
    let _alone = alone();
    let default = if is_ci() { 30 } else { 5 };
    let seconds = std::env::var("KILN_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    // On a slow machine 200 images take longer than the default timeout, and every request must be answered.
    let flags = ["--request-timeout", "5m", "--log-level", "warn,kiln::app=info"];
    let server = Server::start(&[&["--device", "cpu", "--max-batch-size", "32"], &flags[..]].concat());
    let end = Instant::now() + Duration::from_secs(seconds);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, answered) = (&server, &answered);
            let (file, classes) = &IMAGES[client % IMAGES.len()];
            scope.spawn(move || {
                let (agent, image) = (agent(), bytes(file));
                // Each client sends at least one request, however slow the machine is.
                loop {
                    let request = agent.post(format!("{}/predict/raw", server.url)).header("X-API-Key", KEY);
                    let answer = read(request.send(&image[..]));
                    assert!(classes.contains(&answer.top1()), "{file}: {}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                    if Instant::now() >= end {
                        break;
                    }
                }
            });
        }
    });
    let answered = answered.into_inner();
    let (batches, images) = (server.metric("kiln_batch_size_count", &[]), server.metric("kiln_batch_size_sum", &[]));
    println!(
        "{answered} answers, {:.1} per second; {:.2} images per batch",
        answered as f64 / seconds as f64,
        images / batches
    );
    if let Some(peak) = peak_resident_bytes(server.process_id()).map(|bytes| bytes / 1_000_000) {
        println!("peak memory {peak} MB");
        assert!(peak < 250, "{peak} MB of memory");
    }
    assert_eq!(images as usize, answered, "every image must run exactly once");
    assert!(images / batches > 1.5, "waiting images must run in one batch");
    let ok = "operation=\"predict_raw\",status=\"200\"";
    assert_eq!(server.metric("kiln_requests_total", &[ok]) as usize, answered);
}

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
    until("all connections", ACCEPT_TIMEOUT, || open() >= IDLE as f64, || open().to_string());
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

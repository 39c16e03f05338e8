//! Many clients at once, each with its own picture: everyone gets an answer, and it is that of his picture.
//!
//! 200 clients for 5 seconds, and for 30 where `CI` is set; `KILN_LOAD_SECONDS` says otherwise.
#![forbid(unsafe_code)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{KEY, Server, bytes, memory, must_run, read};

const CLIENTS: usize = 200;

/// File and the classes that its answer may have.
const PICTURES: [(&str, std::ops::RangeInclusive<u64>); 7] = [
    ("photos/cat_640x480.jpg", 281..=285),
    ("photos/coffee_640x480.jpg", 967..=967),
    ("photos/flower_640x480.jpg", 985..=985),
    ("photos/rocket_640x480.jpg", 657..=657),
    ("variants/cat.png", 281..=285),
    ("variants/cat.gif", 281..=285),
    ("variants/cat_progressive.jpg", 281..=285),
];

#[test]
fn everyone_gets_the_answer_of_his_own_picture() {
    let usual = if must_run() { 30 } else { 5 };
    let seconds = std::env::var("KILN_LOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    // On a slow machine 200 pictures take longer than a client would usually wait, and every one is to be answered.
    let patient = ["--request-timeout", "5m", "--log-level", "warn,kiln::app=info"];
    let server = Server::start(&[&["--device", "cpu", "--max-batch-size", "32"], &patient[..]].concat());
    let until = Instant::now() + Duration::from_secs(seconds);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (server, answered) = (&server, &answered);
            let (file, classes) = &PICTURES[client % PICTURES.len()];
            scope.spawn(move || {
                let (agent, picture) = (Server::agent(), bytes(file));
                // At least once each, however slow the machine.
                loop {
                    let request = agent.post(format!("{}/predict/raw", server.url)).header("X-API-Key", KEY);
                    let answer = read(request.send(&picture[..]));
                    assert!(classes.contains(&answer.top1()), "{file}: {}", answer.text());
                    answered.fetch_add(1, Ordering::Relaxed);
                    if Instant::now() >= until {
                        break;
                    }
                }
            });
        }
    });
    let answered = answered.into_inner();
    let (batches, pictures) = (server.metric("kiln_batch_size_count", &[]), server.metric("kiln_batch_size_sum", &[]));
    println!(
        "{answered} answers, {:.1} a second; {:.2} pictures a batch",
        answered as f64 / seconds as f64,
        pictures / batches
    );
    if let Some(most) = memory::most_resident(server.process_id()).map(|bytes| bytes / 1_000_000) {
        println!("at most {most} MB of memory");
        assert!(most < 250, "{most} MB of memory");
    }
    assert_eq!(pictures as usize, answered, "every picture ran exactly once");
    assert!(pictures / batches > 1.5, "pictures that wait together run together");
    let ok = "operation=\"predict_raw\",status=\"200\"";
    assert_eq!(server.metric("kiln_requests_total", &[ok]) as usize, answered);
}

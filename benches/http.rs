//! What the server sustains without a network to run: HTTP, decoding and batching on an engine that answers at once.
//!
//! `cargo bench --bench http` prints requests a second by connections, and where the time of a lone one goes. The client runs on the
//! same cores. Pictures are also compared with what decoding and resizing alone do on as many threads. At the end it tells what
//! metrics, log and kept answers cost, which `-- instrumentation` tells alone.
#![forbid(unsafe_code)]

#[path = "http/client.rs"]
mod client;
#[path = "../tests/common/in_process.rs"]
mod in_process;
#[path = "http/instrumentation.rs"]
mod instrumentation;
mod machine;
#[path = "http/requests.rs"]
mod requests;

use std::time::{Duration, Instant};

use client::{KEY, rate};
use in_process::{InProcess, Settings};
use instrumentation::Extent;
use kiln_api::MetricsAccess;
use kiln_image::{Crop, Filter, Limits, Recipe, decode, prepare};
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_inference::model::Model;
use kiln_api as api;
use kiln_classifier::batching;
use kiln_server as serve;
use requests::requests;

const CROWDS: [usize; 3] = [16, 64, 256];
const PHASES: [&str; 8] =
    ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess"];

fn main() {
    // Tests run it too, so that it cannot rot: each request a few times.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let time = if measured { Duration::from_secs(2) } else { Duration::from_millis(1) };
    let model = Model::named("efficientnet-lite0").expect("the default model");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(role) = instrumentation::role() {
        let server = start(&model, threads, false, role.metrics, role.cache_bytes);
        return instrumentation::serve_until_told(server.address);
    }
    println!("machine: {}; {threads} decode threads", machine::machine());
    if !std::env::args().any(|argument| argument == "instrumentation") {
        sustained(&model, threads, time);
    }
    let cheap = requests(&model).into_iter().filter(|(name, ..)| {
        name.contains("224x168") || *name == "/predict/raw, JPEG 640x480" || name.contains("binary")
    });
    let cheap: Vec<_> = cheap.map(|(name, request, _)| (name, request)).collect();
    let (starts, rounds) = if measured { (24, 5) } else { (1, 1) };
    instrumentation::compare(&cheap, Extent { starts, rounds, time: time.min(Duration::from_millis(400)) });
}

/// Prints what is sustained on each engine.
fn sustained(model: &Model, threads: usize, time: Duration) {
    println!("{:38}{}", "requests/s, connections:", format!("{:>9}", 1) + &CROWDS.map(|n| format!("{n:>9}")).concat());
    let served = start(model, threads, false, MetricsAccess::Open, 0);
    for (name, request, picture) in requests(model) {
        row(&served, &name, &request, picture.as_deref().map(|picture| (picture, true)), threads, time);
    }
    println!("on an engine of 0.2 ms and 0.02 ms a picture that resizes by itself, as a large GPU would:");
    let served = start(model, threads, true, MetricsAccess::Open, 0);
    for (name, request, picture) in requests(model).into_iter().filter(|(name, ..)| name.starts_with("/predict/raw")) {
        row(&served, &name, &request, picture.as_deref().map(|picture| (picture, false)), threads, time);
    }
}

/// Prints a line, and for a picture another one: how it compares with decoding alone, or decoding and resizing.
fn row(served: &InProcess, name: &str, request: &[u8], picture: Option<(&[u8], bool)>, threads: usize, time: Duration) {
    let before = seconds(served.address);
    let lone = rate(served.address, 1, time, request);
    let shares = shares(before, seconds(served.address));
    // The same machine is quicker at one moment and slower at another, so each is compared with what was there around it.
    let mut beside = Vec::new();
    let alone_now = || picture.map(|(picture, resized)| alone(picture, resized, threads, time / 2));
    let crowds = CROWDS.map(|connections| {
        let before = alone_now();
        let rate = rate(served.address, connections, time, request);
        beside.extend(before.zip(alone_now()).map(|(before, after)| 2.0 * rate / (before + after)));
        rate
    });
    let rates = std::iter::once(lone).chain(crowds);
    println!("{name:38}{}   {shares}", rates.map(|rate| format!("{rate:9.0}")).collect::<String>());
    if let Some((_, resized)) = picture {
        let what = if resized { "  of decode and resize alone" } else { "  of decode alone" };
        let parts: String = beside.iter().map(|part| format!("{part:9.2}")).collect();
        println!("{what:47}{parts}");
    }
}

/// A thousand scores for each picture, of no time or of that of a large GPU.
struct Pretended {
    scores: Logits,
    takes_time: bool,
}

impl Engine for Pretended {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        if self.takes_time {
            // The thread that waits for a GPU leaves its core to others.
            std::thread::sleep(Duration::from_micros(200 + 20 * batch.len() as u64));
        }
        Ok(vec![self.scores.clone(); batch.len()])
    }
}

fn start(model: &Model, threads: usize, as_gpu: bool, metrics: MetricsAccess, cache_bytes: u64) -> InProcess {
    let settings = Settings {
        serve: serve::Config::default(),
        // 256 clients with a tensor in JSON each.
        api: api::Config { metrics, max_inflight_body_bytes: 1 << 30, ..api::Config::default() },
        batching: batching::Config { queue_capacity: 1024, max_batch_size: 32, ..batching::Config::default() },
        decode_threads: threads,
        resizes: as_gpu,
        cache_bytes,
    };
    let engine = Pretended { scores: vec![0.0; model.spec().labels.len()].into(), takes_time: as_gpu };
    let mut server = InProcess::loading(model.clone(), Box::new(engine), KEY, settings);
    server.open();
    server
}

/// Pictures a second of decoding, and of resizing if wanted, on so many threads, without a server.
fn alone(picture: &[u8], resized: bool, threads: usize, time: Duration) -> f64 {
    let crop = Crop::CentralPadded { padding: 32 };
    let (recipe, limits) = (Recipe { width: 224, height: 224, filter: Filter::Bicubic, crop }, Limits::default());
    let (begun, done) = (Instant::now(), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while begun.elapsed() < time {
                    if resized {
                        prepare(picture, &recipe, &limits).expect("a photo");
                    } else {
                        decode(picture, &limits).expect("a photo");
                    }
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner().max(1) as f64 / begun.elapsed().as_secs_f64()
}

/// Seconds that went into each phase so far, then into whole requests.
fn seconds(address: std::net::SocketAddr) -> [f64; 9] {
    let text = ureq::get(format!("http://{address}/metrics")).call().expect("metrics").body_mut().read_to_string();
    let text = text.expect("text");
    let sum = |name: String| {
        let lines = text.lines().filter(|line| line.starts_with("kiln_") && line.contains(&name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    std::array::from_fn(|i| match PHASES.get(i) {
        Some(phase) => sum(format!("phase_duration_seconds_sum{{model=\"efficientnet-lite0\",phase=\"{phase}\"}}")),
        None => ["predict\"", "predict_raw", "oip_infer"]
            .map(|operation| sum(format!("request_duration_seconds_sum{{operation=\"{operation}")))
            .iter()
            .sum(),
    })
}

/// Parts of the requests' time. The rest is HTTP, and reading and writing bodies.
fn shares(before: [f64; 9], after: [f64; 9]) -> String {
    let took: [f64; 9] = std::array::from_fn(|i| after[i] - before[i]);
    let part = |(phase, took_by): (&str, &f64)| format!("{phase} {:.0} %", 100.0 * took_by / took[8]);
    let parts: Vec<String> = PHASES.into_iter().zip(&took).map(part).collect();
    format!("{}, the rest HTTP", parts.join(", "))
}

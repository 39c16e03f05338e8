//! Measures the throughput of the server without inference: HTTP, decoding and batching with an engine that returns at once.
//!
//! `cargo bench --bench http` prints the requests per second by number of connections, and the phases of a request on an idle
//! server. The client runs on the same cores. Image requests are also compared with decoding and resizing alone on the same number of
//! threads. At the end it measures the cost of metrics, log and response cache; `-- instrumentation` measures that part only.
#![forbid(unsafe_code)]

#[path = "http/client.rs"]
mod client;
#[path = "../tests/common/in_process.rs"]
mod in_process;
#[path = "http/instrumentation.rs"]
mod instrumentation;
mod machine;

use std::time::{Duration, Instant};

use client::{KEY, rate, requests};
use in_process::{InProcess, Settings};
use instrumentation::Extent;
use kiln_api as api;
use kiln_api::MetricsAccess;
use kiln_classifier::batching;
use kiln_image::{Crop, Filter, Limits, PreprocessSpec, decode, preprocess};
use kiln_inference::model::Model;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_server as serve;

const CONNECTIONS: [usize; 3] = [16, 64, 256];
const PHASES: [&str; 8] =
    ["receive", "decode_wait", "decode", "preprocess", "queue", "batch_wait", "device", "postprocess"];

fn main() {
    // `cargo test` also runs this benchmark, to keep it working. It then sends each request only a few times.
    let is_benchmark = std::env::args().any(|argument| argument == "--bench");
    let time = if is_benchmark { Duration::from_secs(2) } else { Duration::from_millis(1) };
    let model = Model::named("efficientnet-lite0").expect("the default model");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if let Some(role) = instrumentation::role() {
        let server = start(&model, threads, false, role.metrics, role.cache_bytes);
        return instrumentation::serve_until_stdin_closes(server.address);
    }
    println!("machine: {}; {threads} decode threads", machine::machine());
    if !std::env::args().any(|argument| argument == "instrumentation") {
        print_throughput(&model, threads, time);
    }
    let cheap = requests(&model).into_iter().filter(|(name, ..)| {
        name.contains("224x168") || *name == "/predict/raw, JPEG 640x480" || name.contains("binary")
    });
    let cheap: Vec<_> = cheap.map(|(name, request, _)| (name, request)).collect();
    let (starts, rounds) = if is_benchmark { (24, 5) } else { (1, 1) };
    instrumentation::compare(&cheap, Extent { starts, rounds, time: time.min(Duration::from_millis(400)) });
}

/// Prints the throughput of each request, with an engine that takes no time and with one as fast as a large GPU.
fn print_throughput(model: &Model, threads: usize, time: Duration) {
    println!(
        "{:38}{}",
        "requests/s, connections:",
        format!("{:>9}", 1) + &CONNECTIONS.map(|n| format!("{n:>9}")).concat()
    );
    let server = start(model, threads, false, MetricsAccess::Open, 0);
    for (name, request, image) in requests(model) {
        print_row(&server, &name, &request, image.as_deref().map(|image| (image, true)), threads, time);
    }
    println!("with an engine that resizes images and takes 0.2 ms plus 0.02 ms per image, as a large GPU does:");
    let server = start(model, threads, true, MetricsAccess::Open, 0);
    for (name, request, image) in requests(model).into_iter().filter(|(name, ..)| name.starts_with("/predict/raw")) {
        print_row(&server, &name, &request, image.as_deref().map(|image| (image, false)), threads, time);
    }
}

/// Prints the throughput of a request. For an image, prints a second line: the ratio to decoding alone, or to decoding and resizing.
fn print_row(
    server: &InProcess,
    name: &str,
    request: &[u8],
    image: Option<(&[u8], bool)>,
    threads: usize,
    time: Duration,
) {
    let before = phase_seconds(server.address);
    let single = rate(server.address, 1, time, request);
    let shares = shares(before, phase_seconds(server.address));
    // The speed of the machine varies over time, so each rate is compared with measurements just before and after it.
    let mut ratios = Vec::new();
    let preprocess_now = || image.map(|(image, resized)| preprocessing_rate(image, resized, threads, time / 2));
    let concurrent = CONNECTIONS.map(|connections| {
        let before = preprocess_now();
        let rate = rate(server.address, connections, time, request);
        ratios.extend(before.zip(preprocess_now()).map(|(before, after)| 2.0 * rate / (before + after)));
        rate
    });
    let rates = std::iter::once(single).chain(concurrent);
    println!("{name:38}{}   {shares}", rates.map(|rate| format!("{rate:9.0}")).collect::<String>());
    if let Some((_, resized)) = image {
        let what = if resized { "  of decode and resize alone" } else { "  of decode alone" };
        let parts: String = ratios.iter().map(|part| format!("{part:9.2}")).collect();
        println!("{what:47}{parts}");
    }
}

/// An engine that returns constant logits, at once or after the time that a large GPU takes.
struct FakeEngine {
    scores: Logits,
    takes_time: bool,
}

impl Engine for FakeEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        if self.takes_time {
            // A thread that waits for a GPU does not occupy a core.
            std::thread::sleep(Duration::from_micros(200 + 20 * batch.len() as u64));
        }
        Ok(vec![self.scores.clone(); batch.len()])
    }
}

fn start(model: &Model, threads: usize, as_gpu: bool, metrics: MetricsAccess, cache_bytes: u64) -> InProcess {
    let settings = Settings {
        serve: serve::Config::default(),
        // Enough for 256 clients with a JSON tensor each.
        api: api::Config { metrics, max_inflight_body_bytes: 1 << 30, ..api::Config::default() },
        batching: batching::Config { queue_capacity: 1024, max_batch_size: 32, ..batching::Config::default() },
        decode_threads: threads,
        resizes: as_gpu,
        cache_bytes,
    };
    let engine = FakeEngine { scores: vec![0.0; model.spec().labels.len()].into(), takes_time: as_gpu };
    let mut server = InProcess::loading(model.clone(), Box::new(engine), KEY, settings);
    server.open();
    server
}

/// Returns the images per second of decoding, and of resizing if `resized`, on `threads` threads without a server.
fn preprocessing_rate(image: &[u8], resized: bool, threads: usize, time: Duration) -> f64 {
    let crop = Crop::CentralPadded { padding: 32 };
    let (recipe, limits) =
        (PreprocessSpec { width: 224, height: 224, filter: Filter::Bicubic, crop }, Limits::default());
    let (started, done) = (Instant::now(), std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while started.elapsed() < time {
                    if resized {
                        preprocess(image, &recipe, &limits).expect("a photo");
                    } else {
                        decode(image, &limits).expect("a photo");
                    }
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner().max(1) as f64 / started.elapsed().as_secs_f64()
}

/// Returns the total seconds of each phase so far, followed by the total of whole requests.
fn phase_seconds(address: std::net::SocketAddr) -> [f64; 9] {
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

/// Formats the share of each phase in the request time. The rest is HTTP, including reading and writing bodies.
fn shares(before: [f64; 9], after: [f64; 9]) -> String {
    let elapsed: [f64; 9] = std::array::from_fn(|i| after[i] - before[i]);
    let part = |(phase, seconds): (&str, &f64)| format!("{phase} {:.0} %", 100.0 * seconds / elapsed[8]);
    let parts: Vec<String> = PHASES.into_iter().zip(&elapsed).map(part).collect();
    format!("{}, the rest is HTTP", parts.join(", "))
}

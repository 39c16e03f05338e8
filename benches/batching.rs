//! What the batcher itself costs: an engine that does nothing, so all the time is queueing and hand-over.
//!
//! `lone` is the round trip of one picture with nobody else about; `crowd` is N callers who each submit their next
//! picture as soon as they have the answer to the last. `cargo bench --bench batching`
#![forbid(unsafe_code)]

mod machine;

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_classifier::batching::{Ask, Batcher, Config, Terms, Worker};
use kiln_image::PreparedImage;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use tokio::runtime::Runtime;

/// Pictures of each caller in one measured round, so that starting the callers does not count.
const ROUNDS: usize = 100;

fn main() {
    println!("machine: {}", machine::machine());
    divan::main();
}

/// Answers at once. A picture is moved, never copied, so a small one costs as much as a large one.
struct Nothing;

impl Engine for Nothing {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(batch.iter().map(|_| Logits::default()).collect())
    }
}

fn start() -> (Runtime, Batcher, Worker) {
    let runtime = Runtime::new().expect("a runtime");
    let (batcher, worker) = {
        let _inside = runtime.enter();
        Batcher::start(
            Config::default(),
            vec![Box::new(Nothing)],
            Readiness::starting(),
            ModelMetrics::new("model", "1"),
        )
    };
    (runtime, batcher, worker)
}

async fn classify(batcher: &Batcher) {
    let image = PreparedImage::new(1, 1, Box::new([0; 3]));
    let permit = batcher.admit(&Ask::default()).expect("the queue holds every caller");
    batcher.submit(permit, image, Terms::default()).await.expect("the engine cannot fail");
}

#[divan::bench]
fn lone(bencher: Bencher) {
    let (runtime, batcher, worker) = start();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| runtime.block_on(classify(&batcher)));
    runtime.block_on(worker.shutdown());
}

#[divan::bench(args = [1, 64, 256])]
fn crowd(bencher: Bencher, callers: usize) {
    let (runtime, batcher, worker) = start();
    bencher.counter(ItemsCount::new(callers * ROUNDS)).bench_local(|| {
        let crowd: Vec<_> = (0..callers)
            .map(|_| {
                let batcher = batcher.clone();
                runtime.spawn(async move {
                    for _ in 0..ROUNDS {
                        classify(&batcher).await;
                    }
                })
            })
            .collect();
        runtime.block_on(futures_util::future::join_all(crowd));
    });
    runtime.block_on(worker.shutdown());
}

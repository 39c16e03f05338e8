//! Measures the overhead of the batcher with an engine that does nothing: all of the time is queueing and hand-over.
//!
//! `single_caller` is the round trip of one image on an idle batcher. `concurrent_callers` has N callers, each of which submits its
//! next image as soon as the last one is answered. Run it with `cargo bench --bench batching`.
#![forbid(unsafe_code)]

mod machine;

use divan::Bencher;
use divan::counter::ItemsCount;
use kiln_classifier::RequestOptions;
use kiln_classifier::batching::{Batcher, Config, Worker};
use kiln_image::PreprocessedImage;
use kiln_inference::{Engine, EngineError, Logits, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;
use tokio::runtime::Runtime;

/// Images of each caller in one measured round. The number is high enough that starting the callers does not count.
const IMAGES_PER_CALLER: usize = 100;

fn main() {
    println!("machine: {}", machine::machine());
    divan::main();
}

/// An engine that returns at once. The batcher moves images and never copies them, so their size does not matter.
struct NoopEngine;

impl Engine for NoopEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        Ok(batch.iter().map(|_| Logits::default()).collect())
    }
}

fn start() -> (Runtime, Batcher, Worker) {
    let runtime = Runtime::new().expect("a runtime");
    let (batcher, worker) = {
        let _entered = runtime.enter();
        Batcher::start(
            Config::default(),
            vec![Box::new(NoopEngine)],
            Readiness::starting(),
            ModelMetrics::new("model", "1"),
        )
        .expect("a thread for the engine")
    };
    (runtime, batcher, worker)
}

async fn classify(batcher: &Batcher) {
    let image = PreprocessedImage::new(1, 1, Box::new([0; 3]));
    let options = RequestOptions::default();
    let admitted = batcher.admit(&options).expect("the queue has room for every caller");
    batcher.submit(admitted, image, &options).await.expect("the engine never fails");
}

#[divan::bench]
fn single_caller(bencher: Bencher) {
    let (runtime, batcher, worker) = start();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| runtime.block_on(classify(&batcher)));
    runtime.block_on(worker.shutdown());
}

#[divan::bench(args = [1, 64, 256])]
fn concurrent_callers(bencher: Bencher, callers: usize) {
    let (runtime, batcher, worker) = start();
    bencher.counter(ItemsCount::new(callers * IMAGES_PER_CALLER)).bench_local(|| {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let batcher = batcher.clone();
                runtime.spawn(async move {
                    for _ in 0..IMAGES_PER_CALLER {
                        classify(&batcher).await;
                    }
                })
            })
            .collect();
        runtime.block_on(futures_util::future::join_all(callers));
    });
    runtime.block_on(worker.shutdown());
}

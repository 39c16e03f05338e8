//! Many callers at once on real threads and the real clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::{id, picture, row};
use crate::batching::{Ask, Batcher, Config, Terms};
use kiln_inference::{Engine, EngineError, Logits, Output, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

const CALLERS: u32 = 64;
const PICTURES: u32 = 200;

struct Echo {
    runs: Arc<AtomicUsize>,
}

impl Engine for Echo {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        self.runs.fetch_add(batch.len(), Ordering::Relaxed);
        Ok(batch.iter().map(|image| row(id(image))).collect())
    }
}

/// One caller: each of its pictures is let in and gets its own row.
async fn call(batcher: Batcher, caller: u32) {
    for id in (0..PICTURES).map(|n| caller * PICTURES + n) {
        let permit = batcher.admit(&Ask::default()).expect("an answer makes room");
        let answer = batcher.submit(permit, picture(id), Terms::default()).await.unwrap();
        assert_eq!(answer.output, Output::Logits(row(id)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_caller_gets_his_own_rows_on_real_threads() {
    let runs = Arc::new(AtomicUsize::new(0));
    let config = Config {
        max_batch_size: 8,
        // One place a caller: whoever has an answer must find it free again.
        queue_capacity: CALLERS as usize,
        ..Config::default()
    };
    let echo = || Box::new(Echo { runs: Arc::clone(&runs) }) as Box<dyn Engine>;
    let (batcher, worker) =
        Batcher::start(config, vec![echo(), echo()], Readiness::starting(), ModelMetrics::new("model", "1"));
    let callers: Vec<_> = (0..CALLERS).map(|caller| tokio::spawn(call(batcher.clone(), caller))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(runs.load(Ordering::Relaxed), (CALLERS * PICTURES) as usize);
    worker.shutdown().await;
    assert_eq!(batcher.depth(), 0);
}

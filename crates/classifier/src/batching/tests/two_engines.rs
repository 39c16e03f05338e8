//! Two engines share one queue, on the paused clock, and with many clients on real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::harness::{End, MS, id, image, on_paused_clock, row, settle, start_two};
use crate::batching::{AdmitError, BatchError, Batcher, Config};
use crate::options::RequestOptions;
use kiln_inference::{Engine, EngineError, Logits, Output, Sample};
use kiln_runtime::readiness::Readiness;
use kiln_runtime::telemetry::metrics::ModelMetrics;

#[test]
fn image_does_not_wait_while_an_engine_is_idle() {
    on_paused_clock(async {
        let (mut fixture, mut other) = start_two(Config::default());
        let slow = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let quick = fixture.submit(1, None);
        assert_eq!(other.next_run().await, [1]);
        let last = fixture.submit(2, None);
        other.finish(End::Rows);
        assert_eq!(quick.await.unwrap().output, Output::Logits(row(1)));
        assert_eq!(other.next_run().await, [2]);
        for gate in [&fixture.gate, &other] {
            gate.finish(End::Rows);
        }
        assert_eq!(last.await.unwrap().output, Output::Logits(row(2)));
        assert_eq!(slow.await.unwrap().output, Output::Logits(row(0)));
        fixture.worker.shutdown().await;
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn waiting_images_are_shared_evenly() {
    on_paused_clock(async {
        let (mut fixture, mut other) = start_two(Config::default());
        let waiting: Vec<_> = (0..6).map(|id| fixture.submit(id, None)).collect();
        assert_eq!(fixture.gate.next_run().await, [0, 1, 2]);
        assert_eq!(other.next_run().await, [3, 4, 5]);
        for gate in [&fixture.gate, &other] {
            gate.finish(End::Rows);
        }
        for (id, waiting) in (0..).zip(waiting) {
            assert_eq!(waiting.await.unwrap().output, Output::Logits(row(id)));
        }
    });
}

#[test]
fn engine_that_cannot_be_replaced_closes_the_batcher_after_the_other_engine_ends_its_batch() {
    on_paused_clock(async {
        let (mut fixture, mut other) = start_two(Config { max_batch_size: 1, ..Config::default() });
        let decoding = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let failing = [fixture.submit(1, None), fixture.submit(2, None)];
        assert_eq!(other.next_run().await, [1]);

        other.finish_rebuild(false);
        other.finish(End::Panic);
        for waiting in failing {
            assert!(matches!(waiting.await, Err(BatchError::Failed(EngineError::Panicked(_)))));
        }
        assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Closed);
        assert_eq!(
            fixture.batcher.submit(decoding, image(3), &RequestOptions::default()).await,
            Err(BatchError::Closed)
        );
        fixture.gate.finish(End::Rows);
        assert_eq!(running.await.unwrap().output, Output::Logits(row(0)));
        assert_eq!(fixture.gate.open().recv().await, None, "no engine is used again");
        fixture.worker.shutdown().await;
    });
}

#[test]
fn shutdown_waits_for_both_engines() {
    on_paused_clock(async {
        let (mut fixture, mut other) = start_two(Config { max_batch_size: 1, ..Config::default() });
        let waiting: Vec<_> = (0..4).map(|id| fixture.submit(id, None)).collect();
        assert_eq!((fixture.gate.next_run().await, other.next_run().await), (vec![0], vec![1]));
        let end = tokio::spawn(fixture.worker.shutdown());
        for gate in [fixture.gate, other] {
            drop(gate.open());
        }
        for (id, waiting) in (0..).zip(waiting) {
            assert_eq!(waiting.await.unwrap().output, Output::Logits(row(id)));
        }
        end.await.unwrap();
    });
}

/// With alternating self-tests, the engines would never all be idle.
#[test]
fn shutdown_starts_no_more_self_tests() {
    on_paused_clock(async {
        let (mut fixture, other) = start_two(Config { self_test_interval: 1000 * MS, ..Config::default() });
        fixture.begin_failing_self_test(1000 * MS).await;
        let end = tokio::spawn(fixture.worker.shutdown());
        settle().await;
        // The other engine's self-test was due, too. Its thread is not on the paused clock.
        while other.self_tests.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        // A further self-test of the other engine would not return.
        other.is_healthy.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::time::advance(1001 * MS).await;
            settle().await;
        }
        fixture.gate.finish(End::Rows);
        fixture.gate.finish_rebuild(true);
        end.await.unwrap();
    });
}

const CLIENTS: u32 = 64;
const IMAGES: u32 = 200;

struct EchoEngine {
    runs: Arc<AtomicUsize>,
}

impl Engine for EchoEngine {
    fn run(&mut self, batch: &[Sample]) -> Result<Vec<Logits>, EngineError> {
        self.runs.fetch_add(batch.len(), Ordering::Relaxed);
        Ok(batch.iter().map(|image| row(id(image))).collect())
    }
}

/// Runs one client: each of its images is admitted and gets its own row.
async fn run_client(batcher: Batcher, client: u32) {
    for id in (0..IMAGES).map(|n| client * IMAGES + n) {
        let options = RequestOptions::default();
        let admitted = batcher.admit(&options).expect("a result frees its place");
        let result = batcher.submit(admitted, image(id), &options).await.unwrap();
        assert_eq!(result.output, Output::Logits(row(id)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_client_gets_its_own_rows_on_real_threads() {
    let runs = Arc::new(AtomicUsize::new(0));
    let config = Config {
        max_batch_size: 8,
        // One place per client: a client that has its result must find the place free again.
        queue_capacity: CLIENTS as usize,
        ..Config::default()
    };
    let engine = || Box::new(EchoEngine { runs: Arc::clone(&runs) }) as Box<dyn Engine>;
    let (batcher, worker) =
        Batcher::start(config, vec![engine(), engine()], Readiness::starting(), ModelMetrics::new("model", "1"))
            .unwrap();
    let clients: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(run_client(batcher.clone(), client))).collect();
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(runs.load(Ordering::Relaxed), (CLIENTS * IMAGES) as usize);
    worker.shutdown().await;
    assert_eq!(batcher.depth(), 0);
}

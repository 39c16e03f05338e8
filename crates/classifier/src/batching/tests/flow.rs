//! A healthy batcher: batches, capacity, cancellation and shutdown.

use tokio::sync::mpsc::error::TryRecvError;

use super::harness::{End, Fixture, MS, image, on_paused_clock, row, settle, start};
use crate::batching::{AdmitError, BatchError, Config};
use crate::options::RequestOptions;
use kiln_inference::Output;

#[test]
fn images_that_arrive_during_a_run_form_the_next_batch() {
    on_paused_clock(async {
        let mut fixture = start(Config::default());
        let first = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let others: Vec<_> = (1..=5).map(|id| fixture.submit(id, None)).collect();
        settle().await;
        fixture.gate.finish(End::Rows);
        assert_eq!(first.await.unwrap().batch_size, 1);
        assert_eq!(fixture.gate.next_run().await, [1, 2, 3, 4, 5]);
        fixture.gate.finish(End::Rows);
        for (id, other) in (1..).zip(others) {
            let result = other.await.unwrap();
            assert_eq!((result.output, result.batch_size), (Output::Logits(row(id)), 5));
        }
    });
}

#[test]
fn full_queue_rejects_at_once() {
    on_paused_clock(async {
        let mut fixture = start(Config { queue_capacity: 3, ..Config::default() });
        let decoding = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let _queued = fixture.submit(1, None);
        let error = fixture.batcher.admit(&RequestOptions::default()).unwrap_err();
        assert!(matches!(error, AdmitError::Overloaded { retry_after } if retry_after >= 1000 * MS));
        assert_eq!(fixture.batcher.depth(), 3);

        drop(decoding);
        let _next = fixture.batcher.admit(&RequestOptions::default()).expect("a dropped permit frees its place");
        assert!(fixture.batcher.admit(&RequestOptions::default()).is_err());
        fixture.gate.finish(End::Rows);
        running.await.unwrap();
        let _last = fixture.batcher.admit(&RequestOptions::default()).expect("a result frees its place");
    });
}

#[test]
fn cancelled_image_leaves_the_queue_and_frees_its_place() {
    on_paused_clock(async {
        let mut fixture = start(Config::default());
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        drop(fixture.submit(1, None));
        let stays = fixture.submit(2, None);
        fixture.gate.finish(End::Rows);
        running.await.unwrap();
        assert_eq!(fixture.gate.next_run().await, [2]);
        assert_eq!(fixture.batcher.depth(), 1);
        fixture.gate.finish(End::Rows);
        assert_eq!(stays.await.unwrap().output, Output::Logits(row(2)));
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn cancellation_during_a_run_does_not_shift_the_rows() {
    on_paused_clock(async {
        let mut fixture = start(Config::default());
        let _first = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let cancelled = fixture.submit(1, None);
        let stays = fixture.submit(2, None);
        fixture.gate.finish(End::Rows);
        assert_eq!(fixture.gate.next_run().await, [1, 2]);
        drop(cancelled);
        fixture.gate.finish(End::Rows);
        assert_eq!(stays.await.unwrap().output, Output::Logits(row(2)));
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn retire_waits_for_the_last_handle_and_rejects_no_image() {
    on_paused_clock(async {
        let fixture = start(Config::default());
        let admitted = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let running = fixture.submit(0, None);
        let Fixture { batcher, worker, mut gate, .. } = fixture;
        assert_eq!(gate.next_run().await, [0]);
        let retiring = tokio::spawn(worker.retire());
        settle().await;
        gate.finish(End::Rows);
        running.await.unwrap();
        let last_handle = batcher.clone();
        let late =
            tokio::spawn(async move { last_handle.submit(admitted, image(1), &RequestOptions::default()).await });
        assert_eq!(gate.next_run().await, [1]);
        gate.finish(End::Rows);
        late.await.unwrap().unwrap();
        settle().await;
        assert!(!retiring.is_finished(), "a handle is left");
        drop(batcher);
        retiring.await.unwrap();
    });
}

#[test]
fn shutdown_runs_the_queue_and_admits_no_more_images() {
    on_paused_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let admitted = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let mut waiting = vec![fixture.submit(0, None)];
        assert_eq!(fixture.gate.next_run().await, [0]);
        waiting.extend((1..6).map(|id| fixture.submit(id, None)));

        let shutdown = tokio::spawn(fixture.worker.shutdown());
        settle().await;
        assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Closed);
        let late = fixture.batcher.submit(admitted, image(6), &RequestOptions::default()).await;
        assert_eq!(late, Err(BatchError::Closed));
        assert!(!shutdown.is_finished(), "the engine still runs");

        let mut runs = fixture.gate.open();
        for (id, pending) in (0..).zip(waiting) {
            assert_eq!(pending.await.unwrap().output, Output::Logits(row(id)));
        }
        shutdown.await.unwrap();
        assert_eq!(runs.recv().await.unwrap(), [1, 2]);
        assert_eq!(runs.recv().await.unwrap(), [3, 4]);
        assert_eq!(runs.recv().await.unwrap(), [5]);
        let after = runs.try_recv();
        assert_eq!(after, Err(TryRecvError::Disconnected), "the engine was dropped");
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn dropped_worker_stops_the_batcher_and_loses_no_image() {
    on_paused_clock(async {
        let mut fixture = start(Config { max_queue_delay: 1000 * MS, ..Config::default() });
        let waiting = fixture.submit(0, None);
        drop(fixture.worker);
        assert_eq!(fixture.gate.next_run().await, [0]);
        assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Closed);
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn engine_is_dropped_with_the_last_handle() {
    on_paused_clock(async {
        let fixture = start(Config::default());
        drop(fixture.batcher);
        assert_eq!(fixture.gate.open().recv().await, None);
        fixture.worker.shutdown().await;
    });
}

#[test]
fn images_get_an_error_if_the_runtime_is_dropped() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let fixture = {
        let _runtime = runtime.enter();
        start(Config::default())
    };
    let waiting = fixture.submit(0, None);
    drop(runtime);
    on_paused_clock(async { assert_eq!(waiting.await, Err(BatchError::Closed)) });
}

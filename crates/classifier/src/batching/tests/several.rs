//! Two engines behind one queue.

use std::sync::atomic::Ordering;

use super::harness::{End, MS, on_a_still_clock, picture, row, settle, start_two};
use crate::batching::{AdmitError, Ask, BatchError, Config, Terms};
use kiln_inference::{EngineError, Output};

#[test]
fn a_picture_does_not_wait_while_an_engine_is_free() {
    on_a_still_clock(async {
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
fn what_waits_is_shared_evenly() {
    on_a_still_clock(async {
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
fn one_that_cannot_be_replaced_closes_the_batcher_and_the_other_ends_its_batch() {
    on_a_still_clock(async {
        let (mut fixture, mut other) = start_two(Config { max_batch_size: 1, ..Config::default() });
        let decoding = fixture.batcher.admit(&Ask::default()).unwrap();
        let healthy = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let doomed = [fixture.submit(1, None), fixture.submit(2, None)];
        assert_eq!(other.next_run().await, [1]);

        other.rebuilt(false);
        other.finish(End::Panic);
        for waiting in doomed {
            assert!(matches!(waiting.await, Err(BatchError::Failed(EngineError::Panicked(_)))));
        }
        assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Closed);
        assert_eq!(fixture.batcher.submit(decoding, picture(3), Terms::default()).await, Err(BatchError::Closed));
        fixture.gate.finish(End::Rows);
        assert_eq!(healthy.await.unwrap().output, Output::Logits(row(0)));
        assert_eq!(fixture.gate.open().recv().await, None, "then no engine is used again");
        fixture.worker.shutdown().await;
    });
}

#[test]
fn shutting_down_waits_for_both() {
    on_a_still_clock(async {
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

/// Otherwise they take turns at it, and are never all free.
#[test]
fn who_shuts_down_begins_no_more_checks() {
    on_a_still_clock(async {
        let (mut fixture, other) = start_two(Config { self_test_interval: 1000 * MS, ..Config::default() });
        fixture.begin_bad_check(1000 * MS).await;
        let end = tokio::spawn(fixture.worker.shutdown());
        settle().await;
        // It would not come back from a check.
        other.is_sound.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::time::advance(1001 * MS).await;
            settle().await;
        }
        fixture.gate.finish(End::Rows);
        fixture.gate.rebuilt(true);
        end.await.unwrap();
    });
}

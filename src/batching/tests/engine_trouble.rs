//! An engine that fails, miscounts or panics: every waiter hears of it, and nobody hangs.

use super::harness::{End, Fixture, on_a_still_clock, picture, row, settle, start};
use crate::batching::{AdmitError, BatchError, Config};
use crate::inference::EngineError;
use crate::readiness::State;

fn device(text: &str) -> BatchError {
    BatchError::Failed(EngineError::Device(text.to_string()))
}

fn panicked() -> BatchError {
    BatchError::Failed(EngineError::Panicked("shader on fire".to_string()))
}

fn failed(fixture: &Fixture) -> bool {
    matches!(fixture.readiness.state(), State::Failed(_))
}

#[test]
fn a_failed_batch_fails_its_own_callers_and_the_next_is_still_tried() {
    on_a_still_clock(async {
        let mut fixture = start(Config::default());
        let first = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let next = [fixture.submit(1, None), fixture.submit(2, None)];
        fixture.gate.finish(End::Rows);
        first.await.unwrap();
        assert_eq!(fixture.gate.next_run().await, [1, 2]);
        let later = fixture.submit(3, None);
        assert_eq!(fixture.readiness.state(), State::Ready);

        fixture.gate.finish(End::Failure);
        for waiting in next {
            assert_eq!(waiting.await, Err(device("out of memory")));
            assert!(failed(&fixture));
        }
        assert_eq!(fixture.gate.next_run().await, [3]);
        fixture.gate.finish(End::Rows);
        assert_eq!(later.await.unwrap().logits, row(3));
        assert!(failed(&fixture), "a failure latches");
    });
}

#[test]
fn no_row_is_given_out_when_their_number_is_wrong() {
    on_a_still_clock(async {
        let mut fixture = start(Config {
            max_batch_size: 2,
            max_queue_delay: std::time::Duration::from_secs(1),
            ..Config::default()
        });
        let waiting = [fixture.submit(0, None), fixture.submit(1, None)];
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::OneRowTooFew);
        for waiting in waiting {
            let complaint = "the engine returned 1 rows for 2 pictures";
            assert_eq!(waiting.await, Err(device(complaint)));
        }
        assert!(failed(&fixture));
    });
}

#[test]
fn a_panic_fails_everybody_and_closes_the_batcher() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let decoding = fixture.batcher.admit().unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let queued: Vec<_> = (1..6).map(|id| fixture.submit(id, None)).collect();

        fixture.gate.finish(End::Panic);
        assert_eq!(running.await, Err(panicked()));
        assert!(failed(&fixture));
        for waiting in queued {
            assert_eq!(waiting.await, Err(panicked()));
        }
        assert_eq!(fixture.batcher.admit().unwrap_err(), AdmitError::Closed);
        let late = fixture.batcher.submit(decoding, picture(6), None).await;
        assert_eq!(late, Err(BatchError::Closed));
        assert_eq!(fixture.batcher.depth(), 0);
        let mut runs = fixture.gate.open();
        assert_eq!(runs.recv().await, None, "a broken engine is not used again");
        fixture.worker.shutdown().await;
    });
}

#[test]
fn a_picture_that_arrives_just_after_a_panic_is_answered() {
    on_a_still_clock(async {
        let mut fixture = start(Config::default());
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Panic);
        running.await.unwrap_err();
        // The scheduler may or may not know yet.
        if let Ok(permit) = fixture.batcher.admit() {
            let late = fixture.batcher.submit(permit, picture(1), None).await;
            assert!(late == Err(panicked()) || late == Err(BatchError::Closed));
        }
        settle().await;
    });
}

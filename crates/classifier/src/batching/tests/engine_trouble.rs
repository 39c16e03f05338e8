//! An engine that fails, miscounts or panics: every waiter hears of it, and nobody hangs.

use super::harness::{End, MS, on_a_still_clock, picture, row, settle, start};
use crate::batching::{AdmitError, Ask, BatchError, Config, Terms};
use kiln_inference::{EngineError, Output};
use kiln_runtime::readiness::ReadinessState;

fn device(text: &str) -> BatchError {
    BatchError::Failed(EngineError::Device(text.to_string()))
}

fn panicked() -> BatchError {
    BatchError::Failed(EngineError::Panicked("shader on fire".to_string()))
}

#[test]
fn while_an_engine_is_replaced_nobody_waits_for_it_and_then_it_serves_again() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        for end in [End::Failure, End::Panic] {
            let running = fixture.submit(0, None);
            assert_eq!(fixture.gate.next_run().await, [0]);
            let queued = [fixture.submit(1, None), fixture.submit(2, None)];
            let decoding = fixture.batcher.admit(&Ask::default()).unwrap();
            fixture.gate.finish(end);
            assert!(matches!(running.await, Err(BatchError::Failed(_))));
            assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
            for waiting in queued {
                assert_eq!(waiting.await, Err(BatchError::Recovering));
            }
            assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Recovering);
            let late = fixture.batcher.submit(decoding, picture(3), Terms::default()).await;
            assert_eq!(late, Err(BatchError::Recovering));

            fixture.gate.rebuilt(true);
            while fixture.readiness.state() != ReadinessState::Ready {
                tokio::task::yield_now().await;
            }
            let later = fixture.submit(4, None);
            assert_eq!(fixture.gate.next_run().await, [4]);
            fixture.gate.finish(End::Rows);
            assert_eq!(later.await.unwrap().output, Output::Logits(row(4)));
        }
    });
}

#[test]
fn an_idle_engine_that_does_not_know_its_canary_is_replaced() {
    on_a_still_clock(async {
        let mut fixture = start(Config { self_test_interval: 1000 * MS, ..Config::default() });
        fixture.begin_bad_check(1000 * MS).await;
        // What comes meanwhile waits for the outcome.
        let unlucky = fixture.submit(4, None);
        settle().await;
        fixture.gate.finish(End::Rows);
        assert_eq!(unlucky.await, Err(BatchError::Recovering));
        let ReadinessState::Recovering(1, reason) = fixture.readiness.state() else { panic!("not recovering") };
        assert!(reason.contains("the canary is dead"), "{reason}");
        fixture.gate.rebuilt(true);
        while fixture.readiness.state() != ReadinessState::Ready {
            tokio::task::yield_now().await;
        }
        // It is sound now, and stays ready.
        let mut gate = fixture.gate.open();
        let permit = fixture.batcher.admit(&Ask::default()).unwrap();
        let answer = fixture.batcher.submit(permit, picture(5), Terms::default()).await;
        assert_eq!(answer.unwrap().output, Output::Logits(row(5)));
        assert_eq!(gate.recv().await, Some(vec![5]));
    });
}

#[test]
fn scores_that_are_not_finite_are_the_devices_fault_or_one_pictures() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let pair = [fixture.submit(0, None), fixture.submit(1, None)];
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::Rubbish);
        // The canary is right: so is the other picture's row.
        let [rubbish, right] = pair;
        assert_eq!(rubbish.await, Err(BatchError::NotFinite));
        assert_eq!(right.await.unwrap().output, Output::Logits(row(1)));
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready);

        fixture.gate.is_sound.store(false, std::sync::atomic::Ordering::SeqCst);
        let pair = [fixture.submit(2, None), fixture.submit(3, None)];
        assert_eq!(fixture.gate.next_run().await, [2, 3]);
        fixture.gate.finish(End::Rubbish);
        assert!(fixture.gate.next_run().await.is_empty(), "a canary");
        fixture.gate.finish(End::Rows);
        for picture in pair {
            assert_eq!(picture.await, Err(device("the canary is dead")));
        }
        assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
        fixture.gate.rebuilt(true);
    });
}

#[test]
fn an_engine_that_does_not_come_back_ends_the_batcher() {
    on_a_still_clock(async {
        let limit = std::time::Duration::from_secs(60);
        let mut fixture = start(Config { max_batch_size: 1, device_timeout: limit, ..Config::default() });
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let waiting = fixture.submit(1, None);
        tokio::time::advance(limit - 2 * MS).await;
        settle().await;
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready, "it may only be slow");
        tokio::time::advance(3 * MS).await;
        assert!(matches!(waiting.await, Err(BatchError::Failed(EngineError::Device(_)))));
        assert!(fixture.readiness.wait_for_failure().await.contains("has not answered for 60s"));
        assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Closed);
        // A driver that wakes up all the same is heard.
        fixture.gate.finish(End::Rows);
        assert_eq!(running.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn an_idle_engine_that_hangs_at_its_canary_is_found_out_without_a_picture() {
    on_a_still_clock(async {
        let (often, limit) = (1000 * MS, 60_000 * MS);
        let mut fixture = start(Config { self_test_interval: often, device_timeout: limit, ..Config::default() });
        fixture.begin_bad_check(often).await;
        tokio::time::advance(limit - 2 * MS).await;
        settle().await;
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready, "it may only be slow");
        tokio::time::advance(3 * MS).await;
        assert!(fixture.readiness.wait_for_failure().await.contains("has not answered for 60s"));
        settle().await;
        assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Closed);
    });
}

#[test]
fn while_one_engine_checks_itself_another_takes_what_comes() {
    on_a_still_clock(async {
        let config = Config { self_test_interval: 1000 * MS, ..Config::default() };
        let (mut fixture, mut other) = super::harness::start_two(config);
        fixture.begin_bad_check(1000 * MS).await;
        let next = fixture.submit(1, None);
        assert_eq!(other.next_run().await, [1]);
        other.finish(End::Rows);
        assert_eq!(next.await.unwrap().output, Output::Logits(row(1)));
    });
}

#[test]
fn another_engine_serves_while_one_is_replaced() {
    on_a_still_clock(async {
        let (mut fixture, mut other) = super::harness::start_two(Config { max_batch_size: 1, ..Config::default() });
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Failure);
        running.await.unwrap_err();
        for id in 1..4 {
            let next = fixture.submit(id, None);
            assert_eq!(other.next_run().await, [id]);
            other.finish(End::Rows);
            assert_eq!(next.await.unwrap().output, Output::Logits(row(id)));
        }
        assert!(
            matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)),
            "half a server is not what was asked for"
        );
        fixture.gate.rebuilt(true);
        while fixture.readiness.state() != ReadinessState::Ready {
            tokio::task::yield_now().await;
        }
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
        assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
    });
}

#[test]
fn an_engine_that_cannot_be_replaced_closes_the_batcher() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let decoding = fixture.batcher.admit(&Ask::default()).unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let queued: Vec<_> = (1..6).map(|id| fixture.submit(id, None)).collect();

        fixture.gate.rebuilt(false);
        fixture.gate.finish(End::Panic);
        assert_eq!(running.await, Err(panicked()));
        for waiting in queued {
            let end = waiting.await.unwrap_err();
            assert!(end == panicked() || end == BatchError::Recovering, "{end}");
        }
        assert!(fixture.readiness.wait_for_failure().await.contains("shader on fire; the device failed: there is no other"));
        while fixture.batcher.admit(&Ask::default()).unwrap_err() != AdmitError::Closed {
            tokio::task::yield_now().await;
        }
        let late = fixture.batcher.submit(decoding, picture(6), Terms::default()).await;
        assert!(matches!(late, Err(BatchError::Closed | BatchError::Recovering)), "{late:?}");
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
        fixture.gate.rebuilt(false);
        fixture.gate.finish(End::Panic);
        running.await.unwrap_err();
        // The scheduler may or may not know yet.
        if let Ok(permit) = fixture.batcher.admit(&Ask::default()) {
            let late = fixture.batcher.submit(permit, picture(1), Terms::default()).await;
            let expected = [panicked(), BatchError::Recovering, BatchError::Closed];
            assert!(expected.contains(late.as_ref().unwrap_err()), "{late:?}");
        }
        settle().await;
    });
}

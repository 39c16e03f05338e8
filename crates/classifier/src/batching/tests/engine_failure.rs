//! An engine fails, panics, hangs or returns a wrong number of rows. Every image still gets a result.

use super::harness::{End, MS, gated, image, on_paused_clock, row, settle, start, start_two};
use crate::batching::{AdmitError, BatchError, Batcher, Config, SpawnThread, os_thread};
use crate::options::RequestOptions;
use kiln_inference::{EngineError, Output};
use kiln_runtime::readiness::{Readiness, ReadinessState};
use kiln_runtime::telemetry::metrics::ModelMetrics;

fn device(text: &str) -> BatchError {
    BatchError::Failed(EngineError::Device(text.to_string()))
}

fn panicked() -> BatchError {
    BatchError::Failed(EngineError::Panicked("shader on fire".to_string()))
}

#[test]
fn engine_is_replaced_after_a_failure_and_images_get_an_error_in_the_meantime() {
    on_paused_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        for end in [End::Failure, End::Panic] {
            let running = fixture.submit(0, None);
            assert_eq!(fixture.gate.next_run().await, [0]);
            let queued = [fixture.submit(1, None), fixture.submit(2, None)];
            let decoding = fixture.batcher.admit(&RequestOptions::default()).unwrap();
            fixture.gate.finish(end);
            assert!(matches!(running.await, Err(BatchError::Failed(_))));
            assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
            for waiting in queued {
                assert_eq!(waiting.await, Err(BatchError::Recovering));
            }
            assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Recovering);
            let late = fixture.batcher.submit(decoding, image(3), &RequestOptions::default()).await;
            assert_eq!(late, Err(BatchError::Recovering));

            fixture.gate.finish_rebuild(true);
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
fn idle_engine_that_fails_its_self_test_is_replaced() {
    on_paused_clock(async {
        let mut fixture = start(Config { self_test_interval: 1000 * MS, ..Config::default() });
        fixture.begin_failing_self_test(1000 * MS).await;
        // An image that arrives now waits for the self-test.
        let unlucky = fixture.submit(4, None);
        settle().await;
        fixture.gate.finish(End::Rows);
        assert_eq!(unlucky.await, Err(BatchError::Recovering));
        let ReadinessState::Recovering(1, reason) = fixture.readiness.state() else { panic!("not recovering") };
        assert!(reason.contains("wrong reference logits"), "{reason}");
        fixture.gate.finish_rebuild(true);
        while fixture.readiness.state() != ReadinessState::Ready {
            tokio::task::yield_now().await;
        }
        // The engine passes its self-test now, so it stays ready.
        let mut gate = fixture.gate.open();
        let admitted = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let answer = fixture.batcher.submit(admitted, image(5), &RequestOptions::default()).await;
        assert_eq!(answer.unwrap().output, Output::Logits(row(5)));
        assert_eq!(gate.recv().await, Some(vec![5]));
    });
}

#[test]
fn self_test_decides_whether_non_finite_scores_fail_one_image_or_the_batch() {
    on_paused_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let pair = [fixture.submit(0, None), fixture.submit(1, None)];
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::NotFinite);
        // The engine passes its self-test, so the other row is correct.
        let [not_finite, right] = pair;
        assert_eq!(not_finite.await, Err(BatchError::NotFinite));
        assert_eq!(right.await.unwrap().output, Output::Logits(row(1)));
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready);

        fixture.gate.is_healthy.store(false, std::sync::atomic::Ordering::SeqCst);
        let pair = [fixture.submit(2, None), fixture.submit(3, None)];
        assert_eq!(fixture.gate.next_run().await, [2, 3]);
        fixture.gate.finish(End::NotFinite);
        assert!(fixture.gate.next_run().await.is_empty(), "a self-test");
        fixture.gate.finish(End::Rows);
        for pending in pair {
            assert_eq!(pending.await, Err(device("wrong reference logits")));
        }
        assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
        fixture.gate.finish_rebuild(true);
    });
}

#[test]
fn hung_engine_closes_the_batcher() {
    on_paused_clock(async {
        let limit = std::time::Duration::from_secs(60);
        let mut fixture = start(Config { max_batch_size: 1, device_timeout: limit, ..Config::default() });
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let waiting = fixture.submit(1, None);
        tokio::time::advance(limit - 2 * MS).await;
        settle().await;
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready, "the engine may only be slow");
        tokio::time::advance(3 * MS).await;
        assert!(matches!(waiting.await, Err(BatchError::Failed(EngineError::Device(_)))));
        assert!(fixture.readiness.wait_for_failure().await.contains("has not answered for 60s"));
        assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Closed);
        // If the driver returns after all, its result is still used.
        fixture.gate.finish(End::Rows);
        assert_eq!(running.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn hung_self_test_closes_the_batcher_without_any_image() {
    on_paused_clock(async {
        let (interval, limit) = (1000 * MS, 60_000 * MS);
        let mut fixture = start(Config { self_test_interval: interval, device_timeout: limit, ..Config::default() });
        fixture.begin_failing_self_test(interval).await;
        tokio::time::advance(limit - 2 * MS).await;
        settle().await;
        assert_eq!(fixture.readiness.state(), ReadinessState::Ready, "the engine may only be slow");
        tokio::time::advance(3 * MS).await;
        assert!(fixture.readiness.wait_for_failure().await.contains("has not answered for 60s"));
        settle().await;
        assert_eq!(fixture.batcher.admit(&RequestOptions::default()).unwrap_err(), AdmitError::Closed);
    });
}

#[test]
fn other_engine_serves_during_a_self_test() {
    on_paused_clock(async {
        let config = Config { self_test_interval: 1000 * MS, ..Config::default() };
        let (mut fixture, mut other) = start_two(config);
        fixture.begin_failing_self_test(1000 * MS).await;
        let next = fixture.submit(1, None);
        assert_eq!(other.next_run().await, [1]);
        other.finish(End::Rows);
        assert_eq!(next.await.unwrap().output, Output::Logits(row(1)));
    });
}

#[test]
fn other_engine_serves_during_a_replacement() {
    on_paused_clock(async {
        let (mut fixture, mut other) = start_two(Config { max_batch_size: 1, ..Config::default() });
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
            "one of two engines is not ready"
        );
        fixture.gate.finish_rebuild(true);
        while fixture.readiness.state() != ReadinessState::Ready {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn wrong_number_of_rows_fails_the_whole_batch() {
    on_paused_clock(async {
        let mut fixture = start(Config {
            max_batch_size: 2,
            max_queue_delay: std::time::Duration::from_secs(1),
            ..Config::default()
        });
        let waiting = [fixture.submit(0, None), fixture.submit(1, None)];
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::OneRowTooFew);
        for waiting in waiting {
            let message = "the engine returned 1 rows for 2 images";
            assert_eq!(waiting.await, Err(device(message)));
        }
        assert!(matches!(fixture.readiness.state(), ReadinessState::Recovering(1, _)));
    });
}

#[test]
fn engine_that_cannot_be_replaced_closes_the_batcher() {
    on_paused_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let decoding = fixture.batcher.admit(&RequestOptions::default()).unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let queued: Vec<_> = (1..6).map(|id| fixture.submit(id, None)).collect();

        fixture.gate.finish_rebuild(false);
        fixture.gate.finish(End::Panic);
        assert_eq!(running.await, Err(panicked()));
        for waiting in queued {
            let end = waiting.await.unwrap_err();
            assert!(end == panicked() || end == BatchError::Recovering, "{end}");
        }
        assert!(
            fixture.readiness.wait_for_failure().await.contains("shader on fire; the device failed: no other device")
        );
        while fixture.batcher.admit(&RequestOptions::default()).unwrap_err() != AdmitError::Closed {
            tokio::task::yield_now().await;
        }
        let late = fixture.batcher.submit(decoding, image(6), &RequestOptions::default()).await;
        assert!(matches!(late, Err(BatchError::Closed | BatchError::Recovering)), "{late:?}");
        assert_eq!(fixture.batcher.depth(), 0);
        let mut runs = fixture.gate.open();
        assert_eq!(runs.recv().await, None, "a broken engine is not used again");
        fixture.worker.shutdown().await;
    });
}

#[test]
fn image_that_arrives_just_after_a_panic_gets_a_result() {
    on_paused_clock(async {
        let mut fixture = start(Config::default());
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish_rebuild(false);
        fixture.gate.finish(End::Panic);
        running.await.unwrap_err();
        // The scheduler may not have received the event yet.
        if let Ok(admitted) = fixture.batcher.admit(&RequestOptions::default()) {
            let late = fixture.batcher.submit(admitted, image(1), &RequestOptions::default()).await;
            let expected = [panicked(), BatchError::Recovering, BatchError::Closed];
            assert!(expected.contains(late.as_ref().unwrap_err()), "{late:?}");
        }
        settle().await;
    });
}

#[test]
fn refused_thread_is_an_error_and_ends_the_threads_of_the_other_engines() {
    on_paused_clock(async {
        let ((first, gate), (second, other_gate)) = (gated(), gated());
        let spawn: SpawnThread = |name, run| match name.as_str() {
            "kiln-engine-1" => Err(std::io::ErrorKind::WouldBlock.into()),
            _ => os_thread(name, run),
        };
        let (readiness, metrics) = (Readiness::starting(), ModelMetrics::new("model", "1"));
        let started = Batcher::start_on(spawn, Config::default(), vec![first, second], readiness.clone(), metrics);
        let error = started.unwrap_err();
        assert_eq!((error.engine, error.reason.kind()), (1, std::io::ErrorKind::WouldBlock));
        assert!(error.to_string().contains("refuses a thread for engine 1"), "{error}");
        // Both engines are dropped, which ends their channels.
        assert_eq!(gate.open().recv().await, None);
        assert_eq!(other_gate.open().recv().await, None);
        assert_eq!(readiness.state(), ReadinessState::Starting, "the server does not fail");
    });
}

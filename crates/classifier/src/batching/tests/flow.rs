//! Pictures flow through a healthy batcher, until it is shut down.

use tokio::sync::mpsc::error::TryRecvError;

use super::harness::{End, Fixture, MS, on_a_still_clock, picture, row, settle, start};
use crate::batching::{AdmitError, Ask, BatchError, Config, Terms};
use kiln_inference::Output;

#[test]
fn what_arrives_while_the_engine_works_makes_up_the_next_batch() {
    on_a_still_clock(async {
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
            let answer = other.await.unwrap();
            assert_eq!((answer.output, answer.batch_size), (Output::Logits(row(id)), 5));
        }
    });
}

#[test]
fn whoever_comes_when_all_places_are_taken_is_told_at_once() {
    on_a_still_clock(async {
        let mut fixture = start(Config { queue_capacity: 3, ..Config::default() });
        let decoding = fixture.batcher.admit(&Ask::default()).unwrap();
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let _queued = fixture.submit(1, None);
        let refusal = fixture.batcher.admit(&Ask::default()).unwrap_err();
        assert!(matches!(refusal, AdmitError::Overloaded { retry_after } if retry_after >= 1000 * MS));
        assert_eq!(fixture.batcher.depth(), 3);

        drop(decoding);
        let _next = fixture.batcher.admit(&Ask::default()).expect("a dropped permit makes room");
        assert!(fixture.batcher.admit(&Ask::default()).is_err());
        fixture.gate.finish(End::Rows);
        running.await.unwrap();
        let _last = fixture.batcher.admit(&Ask::default()).expect("an answer makes room");
    });
}

#[test]
fn a_caller_who_goes_away_leaves_the_queue_and_his_place() {
    on_a_still_clock(async {
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
fn a_caller_who_goes_away_during_the_run_does_not_shift_the_rows() {
    on_a_still_clock(async {
        let mut fixture = start(Config::default());
        let _first = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let gone = fixture.submit(1, None);
        let stays = fixture.submit(2, None);
        fixture.gate.finish(End::Rows);
        assert_eq!(fixture.gate.next_run().await, [1, 2]);
        drop(gone);
        fixture.gate.finish(End::Rows);
        assert_eq!(stays.await.unwrap().output, Output::Logits(row(2)));
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn a_batcher_that_retires_turns_nobody_away_who_still_has_it() {
    on_a_still_clock(async {
        let fixture = start(Config::default());
        let permit = fixture.batcher.admit(&Ask::default()).unwrap();
        let running = fixture.submit(0, None);
        let Fixture { batcher, worker, mut gate, .. } = fixture;
        assert_eq!(gate.next_run().await, [0]);
        let retiring = tokio::spawn(worker.retire());
        settle().await;
        gate.finish(End::Rows);
        running.await.unwrap();
        let still_there = batcher.clone();
        let late = tokio::spawn(async move { still_there.submit(permit, picture(1), Terms::default()).await });
        assert_eq!(gate.next_run().await, [1]);
        gate.finish(End::Rows);
        late.await.unwrap().unwrap();
        settle().await;
        assert!(!retiring.is_finished(), "somebody has it still");
        drop(batcher);
        retiring.await.unwrap();
    });
}

#[test]
fn shutdown_answers_all_that_is_queued_and_takes_no_more() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_batch_size: 2, ..Config::default() });
        let permit = fixture.batcher.admit(&Ask::default()).unwrap();
        let mut waiting = vec![fixture.submit(0, None)];
        assert_eq!(fixture.gate.next_run().await, [0]);
        waiting.extend((1..6).map(|id| fixture.submit(id, None)));

        let shutdown = tokio::spawn(fixture.worker.shutdown());
        settle().await;
        assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Closed);
        let late = fixture.batcher.submit(permit, picture(6), Terms::default()).await;
        assert_eq!(late, Err(BatchError::Closed));
        assert!(!shutdown.is_finished(), "the engine still works");

        let mut runs = fixture.gate.open();
        for (id, answer) in (0..).zip(waiting) {
            assert_eq!(answer.await.unwrap().output, Output::Logits(row(id)));
        }
        shutdown.await.unwrap();
        assert_eq!(runs.recv().await.unwrap(), [1, 2]);
        assert_eq!(runs.recv().await.unwrap(), [3, 4]);
        assert_eq!(runs.recv().await.unwrap(), [5]);
        let after = runs.try_recv();
        assert_eq!(after, Err(TryRecvError::Disconnected), "the engine is gone");
        assert_eq!(fixture.batcher.depth(), 0);
    });
}

#[test]
fn a_dropped_worker_stops_the_batcher_and_loses_nobody() {
    on_a_still_clock(async {
        let mut fixture = start(Config { max_queue_delay: 1000 * MS, ..Config::default() });
        let waiting = fixture.submit(0, None);
        drop(fixture.worker);
        assert_eq!(fixture.gate.next_run().await, [0]);
        assert_eq!(fixture.batcher.admit(&Ask::default()).unwrap_err(), AdmitError::Closed);
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn the_engine_goes_when_the_last_handle_does() {
    on_a_still_clock(async {
        let fixture = start(Config::default());
        drop(fixture.batcher);
        assert_eq!(fixture.gate.open().recv().await, None);
        fixture.worker.shutdown().await;
    });
}

#[test]
fn nobody_hangs_when_the_runtime_goes_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let fixture = {
        let _inside = runtime.enter();
        start(Config::default())
    };
    let waiting = fixture.submit(0, None);
    drop(runtime);
    on_a_still_clock(async { assert_eq!(waiting.await, Err(BatchError::Closed)) });
}

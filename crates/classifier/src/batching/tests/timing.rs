//! The queue delay and deadlines, to the millisecond.

use tokio::time::{Duration, Instant, advance};

use super::harness::{End, MS, on_a_still_clock, row, settle, start};
use crate::batching::{AdmitError, Answer, Ask, BatchError, Config};
use kiln_inference::Output;

fn with_delay(max_queue_delay: Duration) -> Config {
    Config { max_batch_size: 3, max_queue_delay, ..Config::default() }
}

fn deadline_passed(queued: Duration) -> Result<Answer, BatchError> {
    Err(BatchError::DeadlinePassed { queued, retry_after: Duration::from_secs(1) })
}

#[test]
fn without_a_delay_a_lone_picture_waits_for_nothing() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let waiting = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().queue, Duration::ZERO);
    });
}

/// Waiting for a free engine, and for company.
fn waits(answer: &Answer) -> (Duration, Duration) {
    (answer.queue, answer.batch_wait)
}

#[test]
fn the_oldest_picture_waits_exactly_the_delay() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let oldest = fixture.submit(0, None);
        advance(4 * MS).await;
        let second = fixture.submit(1, None);
        settle().await;
        // In steps, for a run that began early would show in the times below.
        advance(5 * MS).await;
        settle().await;
        advance(MS).await;
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::Rows);
        // The engine was free all the time.
        assert_eq!(waits(&oldest.await.unwrap()), (Duration::ZERO, 10 * MS));
        assert_eq!(waits(&second.await.unwrap()), (Duration::ZERO, 6 * MS));
    });
}

#[test]
fn a_full_batch_does_not_wait_for_the_delay() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let oldest = fixture.submit(0, None);
        settle().await;
        advance(2 * MS).await;
        let _others = [fixture.submit(1, None), fixture.submit(2, None)];
        assert_eq!(fixture.gate.next_run().await, [0, 1, 2]);
        fixture.gate.finish(End::Rows);
        assert_eq!(waits(&oldest.await.unwrap()), (Duration::ZERO, 2 * MS));
    });
}

#[test]
fn the_time_that_the_engine_was_busy_counts_towards_the_delay() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let first: Vec<_> = (0..3).map(|id| fixture.submit(id, None)).collect();
        assert_eq!(fixture.gate.next_run().await, [0, 1, 2]);
        let second = fixture.submit(3, None);
        settle().await;
        advance(25 * MS).await;
        fixture.gate.finish(End::Rows);
        assert_eq!(fixture.gate.next_run().await, [3]);
        fixture.gate.finish(End::Rows);
        for waiting in first {
            assert_eq!(waiting.await.unwrap().queue, Duration::ZERO);
        }
        assert_eq!(waits(&second.await.unwrap()), (25 * MS, Duration::ZERO));
    });
}

#[test]
fn a_deadline_that_passes_in_the_queue_is_told_then_and_not_run() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let late = fixture.submit(1, Some(Instant::now() + 10 * MS));
        let in_time = fixture.submit(2, Some(Instant::now() + 11 * MS));
        settle().await;
        advance(10 * MS).await;
        // The engine is still busy.
        assert_eq!(late.await, deadline_passed(10 * MS));
        assert_eq!(fixture.batcher.depth(), 2, "the place is free again");

        fixture.gate.finish(End::Rows);
        running.await.unwrap();
        assert_eq!(fixture.gate.next_run().await, [2]);
        fixture.gate.finish(End::Rows);
        assert_eq!(in_time.await.unwrap().output, Output::Logits(row(2)));
    });
}

#[test]
fn a_picture_that_comes_too_late_is_not_run_by_a_free_engine() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let late = fixture.submit(0, Some(Instant::now()));
        assert_eq!(late.await, deadline_passed(Duration::ZERO));
        let _next = fixture.submit(1, None);
        assert_eq!(fixture.gate.next_run().await, [1]);
    });
}

#[test]
fn a_deadline_shorter_than_the_delay_is_met() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let hurried = fixture.submit(0, Some(Instant::now() + 5 * MS));
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Rows);
        assert_eq!(hurried.await.unwrap().queue, Duration::ZERO);
    });
}

#[test]
fn a_picture_that_runs_is_answered_although_its_deadline_passes() {
    on_a_still_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let waiting = fixture.submit(0, Some(Instant::now() + 5 * MS));
        assert_eq!(fixture.gate.next_run().await, [0]);
        advance(60 * MS).await;
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn the_measured_time_of_a_run_is_told_and_becomes_the_advice() {
    on_a_still_clock(async {
        let mut fixture = start(Config { queue_capacity: 3, ..with_delay(Duration::ZERO) });
        let waiting = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        advance(800 * MS).await;
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().inference, 800 * MS);

        let _inside: Vec<_> = (0..3).map(|_| fixture.batcher.admit(&Ask::default()).unwrap()).collect();
        let refusal = fixture.batcher.admit(&Ask::default()).unwrap_err();
        let retry_after = 3 * 800 * MS;
        assert_eq!(refusal, AdmitError::Overloaded { retry_after });
    });
}

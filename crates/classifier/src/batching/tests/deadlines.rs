//! The queue delay and deadlines, exact to the millisecond.

use tokio::time::{Duration, Instant, advance};

use super::harness::{End, MS, on_paused_clock, row, settle, start};
use crate::batching::{AdmitError, BatchError, BatchOutput, Config};
use crate::options::RequestOptions;
use kiln_inference::Output;

fn with_delay(max_queue_delay: Duration) -> Config {
    Config { max_batch_size: 3, max_queue_delay, ..Config::default() }
}

fn deadline_passed(queued: Duration) -> Result<BatchOutput, BatchError> {
    Err(BatchError::DeadlinePassed { queued, retry_after: Duration::from_secs(1) })
}

#[test]
fn single_image_does_not_wait_without_a_delay() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let waiting = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().queue, Duration::ZERO);
    });
}

/// Returns how long an image waited for an idle engine, and for its batch to fill.
fn waits(result: &BatchOutput) -> (Duration, Duration) {
    (result.queue, result.batch_wait)
}

#[test]
fn oldest_image_waits_exactly_the_delay() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let oldest = fixture.submit(0, None);
        advance(4 * MS).await;
        let second = fixture.submit(1, None);
        settle().await;
        // In steps, so that an early run would change the times below.
        advance(5 * MS).await;
        settle().await;
        advance(MS).await;
        assert_eq!(fixture.gate.next_run().await, [0, 1]);
        fixture.gate.finish(End::Rows);
        // The engine was idle all the time.
        assert_eq!(waits(&oldest.await.unwrap()), (Duration::ZERO, 10 * MS));
        assert_eq!(waits(&second.await.unwrap()), (Duration::ZERO, 6 * MS));
    });
}

#[test]
fn full_batch_does_not_wait_for_the_delay() {
    on_paused_clock(async {
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
fn busy_time_of_the_engine_counts_towards_the_delay() {
    on_paused_clock(async {
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
fn deadline_that_passes_in_the_queue_is_reported_at_once_and_the_image_is_not_run() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let running = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        let late = fixture.submit(1, Some(Instant::now() + 10 * MS));
        let in_time = fixture.submit(2, Some(Instant::now() + 11 * MS));
        settle().await;
        advance(10 * MS).await;
        // The engine is still busy.
        assert_eq!(late.await, deadline_passed(10 * MS));
        assert_eq!(fixture.batcher.depth(), 2, "its place is free again");

        fixture.gate.finish(End::Rows);
        running.await.unwrap();
        assert_eq!(fixture.gate.next_run().await, [2]);
        fixture.gate.finish(End::Rows);
        assert_eq!(in_time.await.unwrap().output, Output::Logits(row(2)));
    });
}

#[test]
fn image_that_arrives_after_its_deadline_is_not_run() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let late = fixture.submit(0, Some(Instant::now()));
        assert_eq!(late.await, deadline_passed(Duration::ZERO));
        let _next = fixture.submit(1, None);
        assert_eq!(fixture.gate.next_run().await, [1]);
    });
}

#[test]
fn deadline_shorter_than_the_delay_is_met() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(10 * MS));
        let urgent = fixture.submit(0, Some(Instant::now() + 5 * MS));
        assert_eq!(fixture.gate.next_run().await, [0]);
        fixture.gate.finish(End::Rows);
        assert_eq!(urgent.await.unwrap().queue, Duration::ZERO);
    });
}

#[test]
fn deadline_that_passes_during_the_run_does_not_discard_the_result() {
    on_paused_clock(async {
        let mut fixture = start(with_delay(Duration::ZERO));
        let waiting = fixture.submit(0, Some(Instant::now() + 5 * MS));
        assert_eq!(fixture.gate.next_run().await, [0]);
        advance(60 * MS).await;
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().output, Output::Logits(row(0)));
    });
}

#[test]
fn retry_after_is_the_measured_time_of_a_run() {
    on_paused_clock(async {
        let mut fixture = start(Config { queue_capacity: 3, ..with_delay(Duration::ZERO) });
        let waiting = fixture.submit(0, None);
        assert_eq!(fixture.gate.next_run().await, [0]);
        advance(800 * MS).await;
        fixture.gate.finish(End::Rows);
        assert_eq!(waiting.await.unwrap().inference, 800 * MS);

        let _in_flight: Vec<_> = (0..3).map(|_| fixture.batcher.admit(&RequestOptions::default()).unwrap()).collect();
        let error = fixture.batcher.admit(&RequestOptions::default()).unwrap_err();
        let retry_after = 3 * 800 * MS;
        assert_eq!(error, AdmitError::Overloaded { retry_after });
    });
}

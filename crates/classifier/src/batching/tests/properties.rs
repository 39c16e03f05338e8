//! Properties of the batcher for random arrivals, cancellations, delays, deadlines and failures.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::{Duration, Instant, advance};

use super::harness::{End, Fixture, MS, Pending, on_paused_clock, row, settle, start};
use crate::batching::{AdmitError, BatchError, Config};
use crate::options::RequestOptions;
use kiln_inference::{EngineError, Output};
use kiln_runtime::readiness::{Readiness, ReadinessState};

/// One event.
#[derive(Clone, Debug)]
enum Op {
    /// An image arrives, with a deadline in this many milliseconds.
    Arrive(Option<u32>),
    /// A client cancels its image.
    Cancel(Index),
    /// A run ends.
    Finish(End),
    /// A rebuild of the engine ends, successfully or not.
    FinishRebuild(bool),
    /// This many milliseconds pass.
    Advance(u32),
}

fn config(delay_ms: impl Strategy<Value = u64>) -> impl Strategy<Value = Config> {
    (1_usize..6, delay_ms, 1_usize..20).prop_map(|(max_batch_size, delay_ms, queue_capacity)| Config {
        max_batch_size,
        max_queue_delay: Duration::from_millis(delay_ms),
        queue_capacity,
        ..Config::default()
    })
}

fn healthy_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Arrive(None)),
        1 => any::<Index>().prop_map(Op::Cancel),
        2 => Just(Op::Finish(End::Rows)),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => proptest::option::of(0_u32..30).prop_map(Op::Arrive),
        2 => any::<Index>().prop_map(Op::Cancel),
        6 => Just(Op::Finish(End::Rows)),
        2 => Just(Op::Finish(End::Failure)),
        2 => Just(Op::Finish(End::OneRowTooFew)),
        1 => Just(Op::Finish(End::Panic)),
        3 => proptest::bool::weighted(0.8).prop_map(Op::FinishRebuild),
        4 => (1_u32..20).prop_map(Op::Advance),
    ]
}

/// The pending results by image id.
type PendingResults = BTreeMap<u32, Pending>;

/// Admits and submits an image. Returns whether it was admitted.
fn arrive(fixture: &Fixture, pending: &mut PendingResults, id: u32, deadline: Option<u32>) -> bool {
    // The engine's thread may free a place at any time, but only this thread takes one.
    let full = fixture.batcher.depth() == fixture.capacity;
    match fixture.batcher.admit(&RequestOptions::default()) {
        Ok(admitted) => {
            let deadline = deadline.map(|ms| Instant::now() + ms * MS);
            pending.insert(id, fixture.submit_admitted(admitted, id, deadline));
            assert!(fixture.batcher.depth() <= fixture.capacity);
            true
        }
        Err(AdmitError::Overloaded { .. }) => {
            assert!(full, "rejected although a place was free");
            false
        }
        Err(AdmitError::DeadlineUnmeetable { .. } | AdmitError::ShareFull { .. }) => {
            panic!("neither a deadline nor a share was passed")
        }
        // The engine may be replaced by now.
        Err(AdmitError::Recovering) => false,
        Err(AdmitError::Closed) => {
            assert!(has_failed(&fixture.readiness));
            false
        }
    }
}

fn has_failed(readiness: &Readiness) -> bool {
    matches!(readiness.state(), ReadinessState::Failed(_))
}

/// Cancels one of the pending images and returns its id.
fn cancel(pending: &mut PendingResults, index: &Index) -> Option<u32> {
    let ids: Vec<u32> = pending.keys().copied().collect();
    let id = *ids.get(index.index(ids.len().max(1)))?;
    pending.remove(&id);
    Some(id)
}

/// With a healthy engine and no delay, each batch is predicted exactly.
async fn check_exact_batches(config: Config, ops: Vec<Op>) {
    let mut fixture = start(config.clone());
    let mut pending = PendingResults::new();
    let (mut queue, mut running) = (Vec::new(), Vec::new());
    for (id, op) in (0..).zip(ops.into_iter().chain(finish_all(&config))) {
        match op {
            Op::Arrive(deadline) => {
                if arrive(&fixture, &mut pending, id, deadline) {
                    queue.push(id);
                }
            }
            Op::Cancel(index) => {
                let cancelled = cancel(&mut pending, &index);
                queue.retain(|id| Some(*id) != cancelled);
            }
            Op::Finish(end) if !running.is_empty() => {
                fixture.gate.finish(end);
                for id in running.drain(..) {
                    if let Some(result) = pending.remove(&id) {
                        assert_eq!(result.await.unwrap().output, Output::Logits(row(id)));
                    }
                }
            }
            Op::Finish(_) | Op::FinishRebuild(_) | Op::Advance(_) => {}
        }
        assert!(fixture.batcher.depth() >= pending.len());
        if running.is_empty() && !queue.is_empty() {
            running = queue.drain(..queue.len().min(config.max_batch_size)).collect();
            assert_eq!(fixture.gate.next_run().await, running);
        }
    }
    assert!(pending.is_empty(), "an image has no result");
    fixture.worker.shutdown().await;
    assert_eq!(fixture.batcher.depth(), 0, "a place was not freed");
}

/// Enough to end everything that can be in flight.
fn finish_all(config: &Config) -> Vec<Op> {
    vec![Op::Finish(End::Rows); config.queue_capacity + 1]
}

/// With delays, deadlines and failures in any order, each image gets exactly one result, and the right one.
async fn check_one_result_each(config: Config, ops: Vec<Op>) {
    let fixture = start(config.clone());
    let mut pending = PendingResults::new();
    let mut deadlines = BTreeMap::new();
    for (id, op) in (0..).zip(ops) {
        match op {
            Op::Arrive(deadline) => {
                arrive(&fixture, &mut pending, id, deadline);
                deadlines.insert(id, deadline);
            }
            Op::Cancel(index) => drop(cancel(&mut pending, &index)),
            Op::Finish(end) => fixture.gate.finish(end),
            Op::FinishRebuild(succeeds) => fixture.gate.finish_rebuild(succeeds),
            Op::Advance(ms) => advance(ms * MS).await,
        }
        settle().await;
    }
    let mut started = fixture.gate.open();
    fixture.worker.shutdown().await;
    assert_eq!(fixture.batcher.depth(), 0, "a place was not freed");

    let mut batch_sizes = BTreeMap::new();
    let mut order = Vec::new();
    while let Some(batch) = started.recv().await {
        assert!((1..=config.max_batch_size).contains(&batch.len()));
        batch_sizes.extend(batch.iter().map(|id| (*id, batch.len())));
        order.extend(batch);
    }
    assert!(order.is_sorted_by(|a, b| a < b), "out of order or run twice: {order:?}");
    for (id, result) in pending {
        let ran = batch_sizes.get(&id).copied();
        match result.await {
            Ok(result) => {
                assert_eq!(result.output, Output::Logits(row(id)));
                assert_eq!(Some(result.batch_size), ran);
            }
            Err(BatchError::Failed(EngineError::Device(_))) => assert!(ran.is_some() || has_failed(&fixture.readiness)),
            Err(BatchError::DeadlinePassed { queued, .. }) => {
                assert_eq!(ran, None, "run after its deadline");
                assert!(queued >= deadlines[&id].expect("it had a deadline") * MS);
            }
            Err(BatchError::Failed(EngineError::Panicked(_))) => {
                assert!(ran.is_some() || has_failed(&fixture.readiness));
            }
            Err(BatchError::Recovering) => assert_eq!(ran, None, "it ran, but its error says that it did not"),
            Err(BatchError::Closed) => panic!("image {id} was submitted before the shutdown"),
            Err(BatchError::NotFinite) => panic!("every row is finite"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_batch_has_the_oldest_waiting_images_and_each_image_gets_its_own_row(
        config in config(Just(0)), ops in vec(healthy_op(), 1..80),
    ) {
        on_paused_clock(check_exact_batches(config, ops));
    }

    #[test]
    fn every_image_gets_exactly_one_result(
        config in config(0_u64..15), ops in vec(any_op(), 1..80),
    ) {
        on_paused_clock(check_one_result_each(config, ops));
    }
}

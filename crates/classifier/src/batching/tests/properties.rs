//! What holds for every pattern of arrivals, departures, delays, deadlines and failures.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::advance;

use super::arrivals::{Callers, Op, any_op, arrive, config, has_failed, healthy_op, leave};
use super::harness::{End, MS, on_a_still_clock, row, settle, start};
use crate::batching::{BatchError, Config};
use kiln_inference::{EngineError, Output};

/// A healthy engine and no delay: each batch is foreseen exactly.
async fn foresee(config: Config, ops: Vec<Op>) {
    let mut fixture = start(config.clone());
    let mut callers = Callers::new();
    let (mut queue, mut running) = (Vec::new(), Vec::new());
    for (id, op) in (0..).zip(ops.into_iter().chain(finishes(&config))) {
        match op {
            Op::Arrive(deadline) => {
                if arrive(&fixture, &mut callers, id, deadline) {
                    queue.push(id);
                }
            }
            Op::Leave(index) => {
                let gone = leave(&mut callers, &index);
                queue.retain(|id| Some(*id) != gone);
            }
            Op::Finish(end) if !running.is_empty() => {
                fixture.gate.finish(end);
                for id in running.drain(..) {
                    if let Some(caller) = callers.remove(&id) {
                        assert_eq!(caller.await.unwrap().output, Output::Logits(row(id)));
                    }
                }
            }
            Op::Finish(_) | Op::Rebuilt(_) | Op::Pass(_) => {}
        }
        assert!(fixture.batcher.depth() >= callers.len());
        if running.is_empty() && !queue.is_empty() {
            running = queue.drain(..queue.len().min(config.max_batch_size)).collect();
            assert_eq!(fixture.gate.next_run().await, running);
        }
    }
    assert!(callers.is_empty(), "somebody is still waiting");
    fixture.worker.shutdown().await;
    assert_eq!(fixture.batcher.depth(), 0, "a place was lost");
}

/// Enough to end all that can be under way.
fn finishes(config: &Config) -> Vec<Op> {
    vec![Op::Finish(End::Rows); config.queue_capacity + 1]
}

/// Delays, deadlines and failures: whatever happens when, each caller gets the one answer that is
/// his.
async fn survive(config: Config, ops: Vec<Op>) {
    let fixture = start(config.clone());
    let mut callers = Callers::new();
    let mut deadlines = BTreeMap::new();
    for (id, op) in (0..).zip(ops) {
        match op {
            Op::Arrive(deadline) => {
                arrive(&fixture, &mut callers, id, deadline);
                deadlines.insert(id, deadline);
            }
            Op::Leave(index) => drop(leave(&mut callers, &index)),
            Op::Finish(end) => fixture.gate.finish(end),
            Op::Rebuilt(done) => fixture.gate.rebuilt(done),
            Op::Pass(ms) => advance(ms * MS).await,
        }
        settle().await;
    }
    let mut started = fixture.gate.open();
    fixture.worker.shutdown().await;
    assert_eq!(fixture.batcher.depth(), 0, "a place was lost");

    let mut batch_sizes = BTreeMap::new();
    let mut order = Vec::new();
    while let Some(batch) = started.recv().await {
        assert!((1..=config.max_batch_size).contains(&batch.len()));
        batch_sizes.extend(batch.iter().map(|id| (*id, batch.len())));
        order.extend(batch);
    }
    assert!(order.is_sorted_by(|a, b| a < b), "out of order or run twice: {order:?}");
    for (id, caller) in callers {
        let ran = batch_sizes.get(&id).copied();
        match caller.await {
            Ok(answer) => {
                assert_eq!(answer.output, Output::Logits(row(id)));
                assert_eq!(Some(answer.batch_size), ran);
            }
            Err(BatchError::Failed(EngineError::Device(_))) => assert!(ran.is_some() || has_failed(&fixture.readiness)),
            Err(BatchError::DeadlinePassed { queued, .. }) => {
                assert_eq!(ran, None, "run after its deadline");
                assert!(queued >= deadlines[&id].expect("it had a deadline") * MS);
            }
            Err(BatchError::Failed(EngineError::Panicked(_))) => {
                assert!(ran.is_some() || has_failed(&fixture.readiness));
            }
            Err(BatchError::Recovering) => assert_eq!(ran, None, "run, and told that it was not"),
            Err(BatchError::Closed) => panic!("picture {id} was submitted before the shutdown"),
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
    fn each_batch_is_the_oldest_that_wait_and_each_caller_gets_his_own_row(
        config in config(Just(0)), ops in vec(healthy_op(), 1..80),
    ) {
        on_a_still_clock(foresee(config, ops));
    }

    #[test]
    fn nothing_is_lost_or_answered_twice(
        config in config(0_u64..15), ops in vec(any_op(), 1..80),
    ) {
        on_a_still_clock(survive(config, ops));
    }
}

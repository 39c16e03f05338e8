//! What can happen to a batcher, at random, and the callers to whom it happens.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::{Duration, Instant};

use super::harness::{End, Fixture, MS, Waiting};
use crate::batching::{AdmitError, Ask, Config};
use kiln_runtime::readiness::{Readiness, ReadinessState};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A picture comes, with a deadline so many milliseconds from now.
    Arrive(Option<u32>),
    /// One of those who wait goes away.
    Leave(Index),
    /// A run ends.
    Finish(End),
    /// The engine is replaced, or cannot be.
    Rebuilt(bool),
    /// So many milliseconds pass.
    Pass(u32),
}

pub(super) fn config(delay_ms: impl Strategy<Value = u64>) -> impl Strategy<Value = Config> {
    (1_usize..6, delay_ms, 1_usize..20).prop_map(|(max_batch_size, delay_ms, queue_capacity)| Config {
        max_batch_size,
        max_queue_delay: Duration::from_millis(delay_ms),
        queue_capacity,
        ..Config::default()
    })
}

pub(super) fn healthy_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Arrive(None)),
        1 => any::<Index>().prop_map(Op::Leave),
        2 => Just(Op::Finish(End::Rows)),
    ]
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => proptest::option::of(0_u32..30).prop_map(Op::Arrive),
        2 => any::<Index>().prop_map(Op::Leave),
        6 => Just(Op::Finish(End::Rows)),
        2 => Just(Op::Finish(End::Failure)),
        2 => Just(Op::Finish(End::OneRowTooFew)),
        1 => Just(Op::Finish(End::Panic)),
        3 => proptest::bool::weighted(0.8).prop_map(Op::Rebuilt),
        4 => (1_u32..20).prop_map(Op::Pass),
    ]
}

/// The callers who still wait, by their picture's number.
pub(super) type Callers = BTreeMap<u32, Waiting>;

/// Whether the picture was let in.
pub(super) fn arrive(fixture: &Fixture, callers: &mut Callers, id: u32, deadline: Option<u32>) -> bool {
    // The engine's thread may make room at any time, but only this one takes it.
    let full = fixture.batcher.depth() == fixture.capacity;
    match fixture.batcher.admit(&Ask::default()) {
        Ok(permit) => {
            let deadline = deadline.map(|ms| Instant::now() + ms * MS);
            callers.insert(id, fixture.submit_with(permit, id, deadline));
            assert!(fixture.batcher.depth() <= fixture.capacity);
            true
        }
        Err(AdmitError::Overloaded { .. }) => {
            assert!(full, "turned away although there was room");
            false
        }
        Err(AdmitError::TooLate { .. } | AdmitError::ShareFull { .. }) => panic!("neither deadline nor share was told"),
        // The engine may be back by now.
        Err(AdmitError::Recovering) => false,
        Err(AdmitError::Closed) => {
            assert!(has_failed(&fixture.readiness));
            false
        }
    }
}

pub(super) fn has_failed(readiness: &Readiness) -> bool {
    matches!(readiness.state(), ReadinessState::Failed(_))
}

pub(super) fn leave(callers: &mut Callers, index: &Index) -> Option<u32> {
    let ids: Vec<u32> = callers.keys().copied().collect();
    let id = *ids.get(index.index(ids.len().max(1)))?;
    callers.remove(&id);
    Some(id)
}

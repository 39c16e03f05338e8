//! The policy with explicit times.

use super::*;
use kiln_runtime::scheduling::Priority;

mod order;

const MS: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Ticket {
    id: u32,
    arrived: Instant,
    deadline: Option<Instant>,
    priority: Priority,
    cancelled: bool,
}

impl Queued for Ticket {
    fn id(&self) -> u64 {
        self.id.into()
    }

    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

fn ticket(id: u32, arrived: Instant) -> Ticket {
    Ticket { id, arrived, deadline: None, priority: Priority::Normal, cancelled: false }
}

fn policy(max_batch_size: usize, max_queue_delay: Duration) -> BatchPolicy<Ticket> {
    BatchPolicy::new(&Config { max_batch_size, max_queue_delay, ..Config::default() })
}

fn dispatched(step: Step<Ticket>) -> Vec<u32> {
    match step.action {
        PolicyAction::Dispatch(batch, _) => batch.iter().map(|ticket| ticket.id).collect(),
        other => panic!("{other:?} instead of a batch"),
    }
}

#[test]
fn idle_engine_gets_waiting_entries_in_order_of_arrival() {
    let now = Instant::now();
    let mut policy = policy(3, Duration::ZERO);
    (0..5).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0])), [0, 1, 2]);
    assert_eq!(dispatched(policy.next_step(now, &[0])), [3, 4]);
    assert_eq!(policy.next_step(now, &[0]).action, PolicyAction::Idle);
}

#[test]
fn entries_run_in_order_of_priority() {
    let now = Instant::now();
    let mut policy = policy(2, Duration::ZERO);
    let all = [Priority::Low, Priority::Normal, Priority::High, Priority::Normal, Priority::High];
    for (id, priority) in (0..).zip(all) {
        policy.push(Ticket { priority, ..ticket(id, now) });
    }
    let batches = std::array::from_fn(|_| dispatched(policy.next_step(now, &[0])));
    assert_eq!(batches, [vec![2, 4], vec![1, 3], vec![0]]);
}

#[test]
fn busy_engine_gets_no_batch() {
    let now = Instant::now();
    let mut policy = policy(2, Duration::ZERO);
    (0..9).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(policy.next_step(now, &[1]).action, PolicyAction::Idle);
    assert_eq!(policy.len(), 9);
}

#[test]
fn each_engine_gets_an_equal_share_of_entries_in_flight() {
    let now = Instant::now();
    let mut policy = policy(8, Duration::ZERO);
    (0..9).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0, 0, 0])), [0, 1, 2]);
    assert_eq!(dispatched(policy.next_step(now, &[3, 0, 0])), [3, 4, 5]);
    // The first engine is idle again before the last one has begun.
    assert_eq!(dispatched(policy.next_step(now, &[0, 3, 0])), [6, 7]);
    assert_eq!(dispatched(policy.next_step(now, &[2, 3, 0])), [8]);
}

#[test]
fn share_is_limited_to_the_batch_size() {
    let now = Instant::now();
    let mut policy = policy(3, Duration::ZERO);
    (0..9).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0, 0])), [0, 1, 2]);
}

#[test]
fn with_a_queue_delay_one_engine_gets_the_full_batch() {
    let now = Instant::now();
    let mut policy = policy(4, 10 * MS);
    (0..4).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0, 0])), [0, 1, 2, 3]);
}

#[test]
fn delay_counts_from_the_oldest_entry() {
    let start = Instant::now();
    let mut policy = policy(4, 10 * MS);
    policy.push(ticket(0, start));
    policy.push(ticket(1, start + 6 * MS));
    let step = policy.next_step(start + 9 * MS, &[0]);
    assert_eq!(step.action, PolicyAction::WaitUntil(start + 10 * MS));
    assert_eq!(dispatched(policy.next_step(start + 10 * MS, &[0])), [0, 1]);
}

#[test]
fn dispatch_reason_names_the_cause() {
    let now = Instant::now();
    let reason = |policy: &mut BatchPolicy<Ticket>, at: Instant| match policy.next_step(at, &[0]).action {
        PolicyAction::Dispatch(_, reason) => reason,
        other => panic!("{other:?} instead of a batch"),
    };
    let with_one = |delay| {
        let mut policy = policy(2, delay);
        policy.push(ticket(0, now));
        policy
    };
    assert_eq!(reason(&mut with_one(Duration::ZERO), now), DispatchReason::EngineFree);
    assert_eq!(reason(&mut with_one(10 * MS), now + 10 * MS), DispatchReason::DelayOver);
    let mut full = with_one(10 * MS);
    full.push(ticket(1, now));
    assert_eq!(reason(&mut full, now), DispatchReason::Full);
    let mut urgent = with_one(10 * MS);
    urgent.push(Ticket { deadline: Some(now + 5 * MS), ..ticket(1, now) });
    urgent.max_batch_size = 3;
    assert_eq!(reason(&mut urgent, now), DispatchReason::Deadline);
    let mut draining = with_one(10 * MS);
    draining.start_draining();
    assert_eq!(reason(&mut draining, now), DispatchReason::Draining);
}

#[test]
fn full_batch_does_not_wait() {
    let now = Instant::now();
    let mut policy = policy(2, 10 * MS);
    (0..3).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0])), [0, 1]);
    let step = policy.next_step(now, &[0]);
    assert_eq!(step.action, PolicyAction::WaitUntil(now + 10 * MS));
}

#[test]
fn full_queue_counts_as_full_batch() {
    let now = Instant::now();
    let mut policy = BatchPolicy::new(&Config {
        max_batch_size: 32,
        max_queue_delay: 10 * MS,
        queue_capacity: 2,
        ..Config::default()
    });
    (0..2).for_each(|id| policy.push(ticket(id, now)));
    assert_eq!(dispatched(policy.next_step(now, &[0])), [0, 1]);
}

#[test]
fn draining_dispatches_at_once() {
    let now = Instant::now();
    let mut policy = policy(4, 10 * MS);
    policy.push(ticket(0, now));
    policy.start_draining();
    assert_eq!(dispatched(policy.next_step(now, &[0])), [0]);
}

#[test]
fn evicted_entries_do_not_count_towards_a_full_batch() {
    let now = Instant::now();
    let mut policy = policy(3, 10 * MS);
    let late = Ticket { deadline: Some(now), ..ticket(0, now) };
    let cancelled = Ticket { cancelled: true, ..ticket(1, now) };
    policy.push(late.clone());
    policy.push(cancelled.clone());
    policy.push(ticket(2, now));
    let step = policy.next_step(now, &[0]);
    assert_eq!(step.evicted, [(late, EvictReason::DeadlinePassed), (cancelled, EvictReason::Cancelled)]);
    assert_eq!(step.action, PolicyAction::WaitUntil(now + 10 * MS));
}

#[test]
fn deadline_is_checked_while_all_engines_are_busy() {
    let now = Instant::now();
    let mut policy = policy(3, Duration::ZERO);
    for (id, deadline) in [(0, 8 * MS), (1, 5 * MS)] {
        policy.push(Ticket { deadline: Some(now + deadline), ..ticket(id, now) });
    }
    let step = policy.next_step(now, &[1]);
    assert_eq!(step.action, PolicyAction::WaitUntil(now + 5 * MS));
    let step = policy.next_step(now + 5 * MS, &[1]);
    assert_eq!(step.evicted[0].0.id, 1);
    assert_eq!(step.action, PolicyAction::WaitUntil(now + 8 * MS));
}

#[test]
fn deadline_within_the_delay_dispatches_the_batch() {
    let now = Instant::now();
    let mut policy = policy(3, 10 * MS);
    policy.push(ticket(0, now));
    policy.push(Ticket { deadline: Some(now + 10 * MS), ..ticket(1, now) });
    assert_eq!(dispatched(policy.next_step(now, &[0])), [0, 1]);
}

#[test]
fn low_priority_is_not_starved() {
    let now = Instant::now();
    let mut policy = policy(4, Duration::ZERO);
    policy.push(Ticket { priority: Priority::Low, ..ticket(0, now) });
    let mut order = Vec::new();
    // More entries of high priority arrive in every round than the engine takes.
    for round in 1..6 {
        for id in 0..5 {
            let high = Ticket { priority: Priority::High, ..ticket(10 * round + id, now + MS * round) };
            policy.push(high);
        }
        order.extend(dispatched(policy.next_step(now + MS * round, &[0])));
    }
    assert_eq!(order.iter().position(|id| *id == 0), Some(OLDEST_EVERY - 1));
    // One in OLDEST_EVERY, not more.
    assert_eq!(order[..OLDEST_EVERY - 1], [10, 11, 12, 13, 14, 20, 21]);
}

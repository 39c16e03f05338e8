//! The policy's queue compared with a sorted list that is searched from the first to the last entry, and the cost of a
//! step in a long queue.

use std::cell::Cell;
use std::rc::Rc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::MS;
use kiln_runtime::scheduling::Priority;

/// An entry. `reads` counts how often a property of any entry was read.
#[derive(Clone, Debug)]
struct Counted {
    id: u64,
    arrived: Instant,
    deadline: Option<Instant>,
    priority: Priority,
    cancelled: Rc<Cell<bool>>,
    reads: Rc<Cell<usize>>,
}

impl Counted {
    fn read<T>(&self, value: T) -> T {
        self.reads.set(self.reads.get() + 1);
        value
    }
}

impl Queued for Counted {
    fn id(&self) -> u64 {
        self.read(self.id)
    }

    fn arrived(&self) -> Instant {
        self.read(self.arrived)
    }

    fn priority(&self) -> Priority {
        self.read(self.priority)
    }

    fn deadline(&self) -> Option<Instant> {
        self.read(self.deadline)
    }

    fn is_cancelled(&self) -> bool {
        self.read(self.cancelled.get())
    }
}

/// The reference: a list in the order of the queue.
struct SortedList {
    queue: Vec<Counted>,
    since_oldest: usize,
    max_batch_size: usize,
    max_queue_delay: Duration,
    draining: bool,
}

impl SortedList {
    fn push(&mut self, entry: Counted) {
        let position = self.queue.partition_point(|other| other.priority <= entry.priority);
        self.queue.insert(position, entry);
    }

    fn next_step(&mut self, now: Instant, running: &[usize]) -> Step<Counted> {
        let is_expired = |entry: &Counted, at| entry.deadline.is_some_and(|deadline| deadline <= at);
        let unwanted = self.queue.extract_if(.., |entry| entry.cancelled.get() || is_expired(entry, now));
        let with_reason = |entry: Counted| match entry.cancelled.get() {
            true => (entry, EvictReason::Cancelled),
            false => (entry, EvictReason::DeadlinePassed),
        };
        let evicted = unwanted.map(with_reason).collect();
        let action = match running.contains(&0) {
            true => self.compose(now, running),
            false => wait_until(self.queue.iter().filter_map(|entry| entry.deadline).min()),
        };
        Step { action, evicted }
    }

    fn compose(&mut self, now: Instant, running: &[usize]) -> PolicyAction<Counted> {
        let due = |entry: &Counted| {
            let delayed = entry.arrived + self.max_queue_delay;
            match (self.draining, self.max_queue_delay.is_zero(), entry.deadline) {
                (true, ..) => (entry.arrived, DispatchReason::Draining),
                (_, true, _) => (entry.arrived, DispatchReason::EngineFree),
                (.., Some(deadline)) if deadline <= delayed => (entry.arrived, DispatchReason::Deadline),
                _ => (delayed, DispatchReason::DelayOver),
            }
        };
        let waiting = self.queue.len();
        match self.queue.iter().map(due).min_by_key(|(due, _)| *due) {
            Some((due, reason)) if waiting >= self.max_batch_size || due <= now => {
                let share = match self.max_queue_delay.is_zero() {
                    true => (waiting + running.iter().sum::<usize>()).div_ceil(running.len()),
                    false => self.max_batch_size,
                };
                let size = share.min(waiting).min(self.max_batch_size);
                let reason = if size == self.max_batch_size { DispatchReason::Full } else { reason };
                PolicyAction::Dispatch((0..size).map(|_| self.take()).collect(), reason)
            }
            due => wait_until(due.map(|(due, _)| due)),
        }
    }

    fn take(&mut self) -> Counted {
        self.since_oldest = (self.since_oldest + 1) % OLDEST_EVERY;
        let ages = self.queue.iter().map(|entry| entry.arrived).enumerate();
        let oldest = ages.min_by_key(|(_, arrived)| *arrived).unwrap().0;
        self.queue.remove(if self.since_oldest == 0 { oldest } else { 0 })
    }
}

/// One event. Times are in milliseconds.
#[derive(Clone, Debug)]
enum Op {
    /// An entry arrives that was submitted some time ago.
    Arrive { priority: usize, submitted_ago: u32, deadline: Option<u32> },
    /// The client of an entry leaves: one that waits, one that was dispatched, or one that was evicted.
    Cancel(Index),
    /// Time passes.
    Advance(u32),
    /// The scheduler asks for a step; each engine runs this many images.
    Step(Vec<usize>),
    /// The server shuts down.
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    let arrive = (0_usize..3, 0_u32..4, proptest::option::of(0_u32..40));
    prop_oneof![
        20 => arrive.prop_map(|(priority, submitted_ago, deadline)| Op::Arrive { priority, submitted_ago, deadline }),
        3 => any::<Index>().prop_map(Op::Cancel),
        4 => (0_u32..12).prop_map(Op::Advance),
        6 => vec(0_usize..3, 1..4).prop_map(Op::Step),
        1 => Just(Op::Drain),
    ]
}

/// Replaces the entries of a step by their ids.
fn ids(step: Step<Counted>) -> (PolicyAction<u64>, Vec<(u64, EvictReason)>) {
    let action = match step.action {
        PolicyAction::Dispatch(batch, reason) => {
            PolicyAction::Dispatch(batch.iter().map(|entry| entry.id).collect(), reason)
        }
        PolicyAction::WaitUntil(at) => PolicyAction::WaitUntil(at),
        PolicyAction::Idle => PolicyAction::Idle,
    };
    (action, step.evicted.into_iter().map(|(entry, reason)| (entry.id, reason)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_step_equals_that_of_a_sorted_list(
        (max_batch_size, delay) in (1_usize..12, prop_oneof![Just(0_u64), 1_u64..15]),
        ops in vec(op(), 1..200),
    ) {
        let max_queue_delay = Duration::from_millis(delay);
        let mut policy = BatchPolicy::new(&Config { max_batch_size, max_queue_delay, ..Config::default() });
        let (queue, draining) = (Vec::new(), false);
        let mut list = SortedList { queue, since_oldest: 0, max_batch_size, max_queue_delay, draining };
        let mut entries: Vec<Counted> = Vec::new();
        let mut now = Instant::now() + Duration::from_secs(1);
        for op in ops {
            match op {
                Op::Arrive { priority, submitted_ago, deadline } => {
                    let entry = Counted {
                        id: entries.len() as u64,
                        arrived: now - submitted_ago * MS,
                        deadline: deadline.map(|deadline| now + deadline * MS),
                        priority: Priority::ALL[priority],
                        cancelled: Rc::default(),
                        reads: Rc::default(),
                    };
                    entries.push(entry.clone());
                    policy.push(entry.clone());
                    list.push(entry);
                }
                Op::Cancel(index) if !entries.is_empty() => {
                    let entry = index.get(&entries);
                    entry.cancelled.set(true);
                    policy.cancel(entry.id);
                }
                Op::Cancel(_) => {}
                Op::Advance(ms) => now += ms * MS,
                Op::Step(running) => {
                    prop_assert_eq!(ids(policy.next_step(now, &running)), ids(list.next_step(now, &running)));
                }
                Op::Drain => {
                    policy.start_draining();
                    (list.max_queue_delay, list.draining) = (Duration::ZERO, true);
                }
            }
            // An entry that is cancelled leaves both at the next step.
            prop_assert_eq!(policy.len(), list.queue.len());
        }
        let left = policy.take_all().iter().map(|entry| entry.id).collect::<Vec<_>>();
        prop_assert_eq!(left, list.queue.iter().map(|entry| entry.id).collect::<Vec<_>>());
    }
}

/// Returns how many properties of entries are read for three steps of a queue of this length: one that dispatches, one
/// that evicts, and one while the engine is busy.
fn reads_of_three_steps(waiting: u32) -> usize {
    let (now, reads) = (Instant::now(), Rc::new(Cell::new(0)));
    let mut policy = BatchPolicy::new(&Config { queue_capacity: waiting as usize, ..Config::default() });
    let entry = |id: u32| Counted {
        id: id.into(),
        arrived: now + id * Duration::from_nanos(1),
        deadline: id.is_multiple_of(2).then(|| now + Duration::from_secs(1) + id * Duration::from_micros(1)),
        priority: Priority::ALL[id as usize % 3],
        cancelled: Rc::default(),
        reads: Rc::clone(&reads),
    };
    (0..waiting).for_each(|id| policy.push(entry(id)));
    reads.set(0);
    let step = policy.next_step(now + MS, &[0]);
    assert!(matches!(step.action, PolicyAction::Dispatch(batch, DispatchReason::Full) if batch.len() == 8));
    policy.cancel(u64::from(waiting) - 1);
    // Until then the deadlines of the even ids up to 18 have passed. Four of these were dispatched.
    let evicted = policy.next_step(now + Duration::from_secs(1) + Duration::from_micros(19), &[1]).evicted;
    assert_eq!(evicted.len(), 6 + 1);
    assert_eq!(policy.next_step(now + Duration::from_secs(1), &[1]).evicted.len(), 0);
    reads.get()
}

#[test]
fn step_reads_no_more_entries_of_a_million_than_of_a_thousand() {
    let (short, long) = (reads_of_three_steps(1_000), reads_of_three_steps(1_000_000));
    assert!(short > 0 && long <= 3 * short, "{short} reads in a queue of 1,000, {long} in one of 1,000,000");
}

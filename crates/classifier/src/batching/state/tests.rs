//! The policy, told what time it is.

use super::*;

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

fn state(max_batch_size: usize, max_queue_delay: Duration) -> State<Ticket> {
    State::new(&Config { max_batch_size, max_queue_delay, ..Config::default() })
}

fn dispatched(step: Step<Ticket>) -> Vec<u32> {
    match step.decision {
        Decision::Dispatch(batch, _) => batch.iter().map(|ticket| ticket.id).collect(),
        other => panic!("no batch but {other:?}"),
    }
}

#[test]
fn a_free_engine_takes_what_waits_in_order_of_arrival() {
    let now = Instant::now();
    let mut state = state(3, Duration::ZERO);
    (0..5).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0])), [0, 1, 2]);
    assert_eq!(dispatched(state.next_batch(now, &[0])), [3, 4]);
    assert_eq!(state.next_batch(now, &[0]).decision, Decision::Idle);
}

#[test]
fn the_urgent_go_first_and_the_patient_last() {
    let now = Instant::now();
    let mut state = state(2, Duration::ZERO);
    let all = [Priority::Low, Priority::Normal, Priority::High, Priority::Normal, Priority::High];
    for (id, priority) in (0..).zip(all) {
        state.append(Ticket { priority, ..ticket(id, now) });
    }
    let batches = std::array::from_fn(|_| dispatched(state.next_batch(now, &[0])));
    assert_eq!(batches, [vec![2, 4], vec![1, 3], vec![0]]);
}

#[test]
fn a_busy_engine_gets_nothing_however_full_the_queue() {
    let now = Instant::now();
    let mut state = state(2, Duration::ZERO);
    (0..9).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(state.next_batch(now, &[1]).decision, Decision::Idle);
    assert_eq!(state.len(), 9);
}

#[test]
fn each_engine_gets_its_share_of_all_that_is_inside() {
    let now = Instant::now();
    let mut state = state(8, Duration::ZERO);
    (0..9).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0, 0, 0])), [0, 1, 2]);
    assert_eq!(dispatched(state.next_batch(now, &[3, 0, 0])), [3, 4, 5]);
    // The first is ready again before the last has begun.
    assert_eq!(dispatched(state.next_batch(now, &[0, 3, 0])), [6, 7]);
    assert_eq!(dispatched(state.next_batch(now, &[2, 3, 0])), [8]);
}

#[test]
fn no_share_is_larger_than_a_batch() {
    let now = Instant::now();
    let mut state = state(3, Duration::ZERO);
    (0..9).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0, 0])), [0, 1, 2]);
}

#[test]
fn pictures_that_waited_for_each_other_stay_together() {
    let now = Instant::now();
    let mut state = state(4, 10 * MS);
    (0..4).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0, 0])), [0, 1, 2, 3]);
}

#[test]
fn the_delay_counts_from_the_oldest_entry() {
    let start = Instant::now();
    let mut state = state(4, 10 * MS);
    state.append(ticket(0, start));
    state.append(ticket(1, start + 6 * MS));
    let early = state.next_batch(start + 9 * MS, &[0]);
    assert_eq!(early.decision, Decision::WaitUntil(start + 10 * MS));
    assert_eq!(dispatched(state.next_batch(start + 10 * MS, &[0])), [0, 1]);
}

#[test]
fn a_batch_tells_why_it_goes_now() {
    let now = Instant::now();
    let why = |state: &mut State<Ticket>, at: Instant| match state.next_batch(at, &[0]).decision {
        Decision::Dispatch(_, reason) => reason,
        other => panic!("no batch but {other:?}"),
    };
    let of_one = |delay| {
        let mut state = state(2, delay);
        state.append(ticket(0, now));
        state
    };
    assert_eq!(why(&mut of_one(Duration::ZERO), now), Reason::EngineFree);
    assert_eq!(why(&mut of_one(10 * MS), now + 10 * MS), Reason::DelayOver);
    let mut full = of_one(10 * MS);
    full.append(ticket(1, now));
    assert_eq!(why(&mut full, now), Reason::Full);
    let mut hurried = of_one(10 * MS);
    hurried.append(Ticket { deadline: Some(now + 5 * MS), ..ticket(1, now) });
    hurried.max_batch_size = 3;
    assert_eq!(why(&mut hurried, now), Reason::Deadline);
    let mut last = of_one(10 * MS);
    last.stop_waiting();
    assert_eq!(why(&mut last, now), Reason::Draining);
}

#[test]
fn a_full_batch_waits_for_nobody() {
    let now = Instant::now();
    let mut state = state(2, 10 * MS);
    (0..3).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0])), [0, 1]);
    let rest = state.next_batch(now, &[0]);
    assert_eq!(rest.decision, Decision::WaitUntil(now + 10 * MS));
}

#[test]
fn a_queue_too_small_for_a_batch_counts_as_full() {
    let now = Instant::now();
    let mut state =
        State::new(&Config { max_batch_size: 32, max_queue_delay: 10 * MS, queue_capacity: 2, ..Config::default() });
    (0..2).for_each(|id| state.append(ticket(id, now)));
    assert_eq!(dispatched(state.next_batch(now, &[0])), [0, 1]);
}

#[test]
fn once_nobody_else_can_come_nobody_is_held_back() {
    let now = Instant::now();
    let mut state = state(4, 10 * MS);
    state.append(ticket(0, now));
    state.stop_waiting();
    assert_eq!(dispatched(state.next_batch(now, &[0])), [0]);
}

#[test]
fn the_dead_leave_and_do_not_count_towards_a_full_batch() {
    let now = Instant::now();
    let mut state = state(3, 10 * MS);
    let late = Ticket { deadline: Some(now), ..ticket(0, now) };
    let gone = Ticket { cancelled: true, ..ticket(1, now) };
    state.append(late.clone());
    state.append(gone.clone());
    state.append(ticket(2, now));
    let step = state.next_batch(now, &[0]);
    assert_eq!(step.dropped, [(late, Dropped::DeadlinePassed), (gone, Dropped::Cancelled)]);
    assert_eq!(step.decision, Decision::WaitUntil(now + 10 * MS));
}

#[test]
fn a_busy_engine_does_not_hide_a_deadline() {
    let now = Instant::now();
    let mut state = state(3, Duration::ZERO);
    for (id, deadline) in [(0, 8 * MS), (1, 5 * MS)] {
        state.append(Ticket { deadline: Some(now + deadline), ..ticket(id, now) });
    }
    let step = state.next_batch(now, &[1]);
    assert_eq!(step.decision, Decision::WaitUntil(now + 5 * MS));
    let step = state.next_batch(now + 5 * MS, &[1]);
    assert_eq!(step.dropped[0].0.id, 1);
    assert_eq!(step.decision, Decision::WaitUntil(now + 8 * MS));
}

#[test]
fn a_deadline_within_the_delay_ends_the_wait_for_all() {
    let now = Instant::now();
    let mut state = state(3, 10 * MS);
    state.append(ticket(0, now));
    state.append(Ticket { deadline: Some(now + 10 * MS), ..ticket(1, now) });
    assert_eq!(dispatched(state.next_batch(now, &[0])), [0, 1]);
}

#[test]
fn the_patient_are_not_starved_by_those_who_go_first() {
    let now = Instant::now();
    let mut state = state(4, Duration::ZERO);
    state.append(Ticket { priority: Priority::Low, ..ticket(0, now) });
    let mut order = Vec::new();
    // More of high priority come than the engine can take, all the time.
    for round in 1..6 {
        for id in 0..5 {
            let high = Ticket { priority: Priority::High, ..ticket(10 * round + id, now + MS * round) };
            state.append(high);
        }
        order.extend(dispatched(state.next_batch(now + MS * round, &[0])));
    }
    assert_eq!(order.iter().position(|id| *id == 0), Some(OLDEST_EVERY - 1));
    // One in so many, not more.
    assert_eq!(order[..OLDEST_EVERY - 1], [10, 11, 12, 13, 14, 20, 21]);
}

//! Checks the thread team in simulated schedules: the threads of a model run one at a time, and at each access to shared state Shuttle
//! chooses the one that continues. A model fails if an assertion fails, or if every thread sleeps (a lost wake-up).
//!
//! Shuttle simulates sequential consistency. Miri, which runs the tests of `thread_team.rs`, simulates weaker memory orderings.
//!
//!     cd shaders/standalone && RUSTFLAGS='--cfg shuttle' cargo test --lib thread_team::model

use shuttle::Runner;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId};
use shuttle::sync::Barrier;

use super::*;

/// Schedules of each kind.
const SCHEDULES: usize = 2_000;

/// Runs a model in schedules that are chosen at random, and in schedules with few changes from one thread to another, which find
/// errors that need a thread to pause for long.
fn check(model: impl Fn() + Copy + Send + Sync + 'static) {
    shuttle::check_random(model, SCHEDULES);
    Runner::new(NoSpuriousWakeups(RandomScheduler::new(SCHEDULES)), Default::default()).run(model);
    Runner::new(NoSpuriousWakeups(PctScheduler::new(4, SCHEDULES)), Default::default()).run(model);
}

/// Wakes a parked thread only if another one unparks it. Shuttle's schedulers also wake it for no reason, as the operating system may,
/// which hides that a wake-up was lost.
struct NoSpuriousWakeups<S>(S);

impl<S: Scheduler> Scheduler for NoSpuriousWakeups<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.0.new_execution()
    }

    fn next_task(&mut self, tasks: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let awake: Vec<&Task> = tasks.iter().copied().filter(|task| !task.blocked()).collect();
        self.0.next_task(&awake, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// Runs a step, and checks that each of its items ran once before the step returned.
fn run_counted(team: &ThreadTeam, items: usize) {
    let done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
    team.run(items, |item| {
        done[item].fetch_add(1, Ordering::SeqCst);
    });
    for (item, times) in done.iter().enumerate() {
        assert_eq!(times.load(Ordering::SeqCst), 1, "item {item} of {items}");
    }
}

#[test]
fn every_item_of_successive_steps_runs_once_before_its_step_returns() {
    check(|| {
        let team = ThreadTeam::new(3);
        for items in [2, 4, 3] {
            run_counted(&team, items);
        }
    });
}

#[test]
fn every_helper_wakes_for_a_step() {
    check(|| {
        let team = ThreadTeam::new(3);
        for _ in 0..2 {
            // Each item waits for the others, so that the step ends only if every thread runs one.
            let all = Barrier::new(3);
            team.run(3, |_| {
                all.wait();
            });
        }
    });
}

#[test]
fn panic_reaches_the_caller_after_all_items_and_the_next_step_has_helpers() {
    check(|| {
        let team = ThreadTeam::new(2);
        let done = AtomicUsize::new(0);
        // `run_step`, because Shuttle closes a lock that a panic has poisoned.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            team.run_step(3, &|item| {
                done.fetch_add(1, Ordering::SeqCst);
                if item == 1 {
                    // Unlike `panic!`, this prints nothing.
                    resume_unwind(Box::new("intended"));
                }
            });
        }));
        assert!(outcome.is_err(), "the panic is lost");
        assert_eq!(done.load(Ordering::SeqCst), 3);
        let both = Barrier::new(2);
        team.run_step(2, &|_| {
            both.wait();
        });
    });
}

#[test]
fn nested_steps_run_on_the_thread_of_their_item() {
    check(|| {
        let team = ThreadTeam::new(2);
        let done = AtomicUsize::new(0);
        team.run(2, |_| {
            let outer = thread::current().id();
            team.run(2, |_| {
                assert_eq!(thread::current().id(), outer);
                done.fetch_add(1, Ordering::SeqCst);
            });
        });
        assert_eq!(done.load(Ordering::SeqCst), 4);
    });
}

#[test]
fn callers_at_the_same_time_get_all_their_items() {
    check(|| {
        let team = Arc::new(ThreadTeam::new(3));
        // The lock of the first use is none of Shuttle's.
        team.threads();
        let call = |team: Arc<ThreadTeam>| {
            let _run = team.begin_run();
            run_counted(&team, 3);
            run_counted(&team, 2);
        };
        let other = Arc::clone(&team);
        let other = thread::spawn(move || call(other));
        call(Arc::clone(&team));
        other.join().unwrap();
        assert_eq!(team.available(), 3, "a run is still counted");
    });
}

#[test]
fn helpers_end_with_the_team_in_any_state() {
    check(|| {
        let team = ThreadTeam::new(3);
        assert_eq!(team.threads(), 3);
        let shared = Arc::clone(&team.shared);
        drop(team);
        assert_eq!(Arc::strong_count(&shared), 1, "a helper still runs");
    });
}

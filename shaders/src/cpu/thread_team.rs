//! The threads that share the work of the CPU kernels: a small team that spins between the steps of a network.
//!
//! A network is some dozens of steps of 50 to 500 microseconds. Waking a sleeping thread for each step would cost a tenth of
//! that, so helper threads spin for a moment before they sleep. A caller publishes a step, all threads claim its items one
//! by one from a counter, and the caller waits for the last item. If the operating system preempts a helper, it delays the
//! step only if it holds an item. A work-stealing pool like rayon's does not spin long enough for such short steps.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{OnceLock, PoisonError, TryLockError};
// A model checker can take the place of the operating system; see `thread_team_model.rs`.
#[cfg(not(shuttle))]
use std::{hint, sync, thread};

#[cfg(shuttle)]
use shuttle::{hint, sync, thread, thread_local};
use sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use sync::{Arc, Mutex};
use thread::{JoinHandle, Thread};

thread_local! {
    /// Whether this thread runs an item. Steps within an item run on its thread alone.
    static IN_ITEM: Cell<bool> = const { Cell::new(false) };
}

/// Returns the default number of threads: the physical cores that this process may use. Two threads on one core would
/// compete for its multipliers.
pub fn default_threads() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.min(num_cpus::get_physical()).max(1)
}

/// Rounds of spinning before a helper or a waiting caller sleeps: some tens of microseconds. With 800 rounds, which is less
/// than an item takes, a single image takes 2 % longer, and a busy server takes the same time. Tools that simulate threads need
/// a few rounds to explore what happens before and after they sleep.
const SPINS: u32 = if cfg!(any(miri, shuttle)) { 3 } else { 5_000 };

/// A caller and the helper threads that share its steps.
pub(super) struct ThreadTeam {
    /// The number of threads requested, including the caller's.
    requested: usize,
    /// Started at the first use.
    helpers: OnceLock<Vec<Helper>>,
    shared: Arc<Shared>,
    /// Held during a step.
    step: Mutex<()>,
}

struct Helper {
    handle: JoinHandle<()>,
    asleep: Arc<AtomicBool>,
}

/// The state that all threads of the team share.
#[derive(Default)]
struct Shared {
    /// The number of items of the step in the upper half, the next item to claim in the lower half.
    state: AtomicU64,
    /// Finished items of the step.
    done: AtomicUsize,
    /// Whether an item panicked.
    panicked: AtomicBool,
    /// Whether the caller sleeps until all items are done.
    waiting: AtomicBool,
    /// The function of the step.
    work: Mutex<Option<Work>>,
    /// The number of [`ActiveRun`]s.
    active_runs: AtomicUsize,
    /// Whether the helpers must end.
    stopped: AtomicBool,
}

/// The function of a step, with its lifetime erased (see [`ThreadTeam::run_step`]), and the calling thread.
#[derive(Clone)]
struct Work(&'static (dyn Fn(usize) + Sync), Thread);

/// Marks its thread as running a network. Each one takes a helper away from the other callers, so that no more threads work
/// than the team has.
#[must_use = "a guard that is dropped at once occupies no thread"]
pub(super) struct ActiveRun<'a>(&'a Shared);

impl Drop for ActiveRun<'_> {
    fn drop(&mut self) {
        self.0.active_runs.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ThreadTeam {
    /// Creates a team of this number of threads, including the caller's.
    pub(super) fn new(threads: usize) -> Self {
        Self { requested: threads.max(1), helpers: OnceLock::new(), shared: Arc::default(), step: Mutex::new(()) }
    }

    /// Returns the number of threads, and starts them in the first call.
    pub(super) fn threads(&self) -> usize {
        self.helpers().len() + 1
    }

    /// Returns the number of threads for a step that starts on this thread now: those that no other [`ActiveRun`] occupies.
    pub(super) fn available(&self) -> usize {
        if IN_ITEM.with(Cell::get) { 1 } else { self.shared.unoccupied(self.threads()) }
    }

    /// Marks this thread as running a network.
    pub(super) fn begin_run(&self) -> ActiveRun<'_> {
        self.shared.active_runs.fetch_add(1, Ordering::SeqCst);
        ActiveRun(&self.shared)
    }

    /// Calls `work` once for each item in `0..items`, on any thread of the team, and returns when all items are done.
    ///
    /// All items run on the calling thread if it is itself within an item, if another caller uses the team, or if other
    /// [`ActiveRun`]s leave no helper.
    ///
    /// # Panics
    ///
    /// Panics if an item panicked, after all other items are done.
    pub(super) fn run(&self, items: usize, work: impl Fn(usize) + Sync) {
        if items <= 1 || IN_ITEM.with(Cell::get) {
            return (0..items).for_each(work);
        }
        let step = match self.step.try_lock() {
            Ok(step) => Some(step),
            // An item of an earlier step panicked. The lock protects no data.
            Err(TryLockError::Poisoned(step)) => Some(step.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if step.is_some() && self.shared.unoccupied(self.threads()) > 1 {
            self.run_step(items, &work);
        } else {
            (0..items).for_each(work);
        }
    }

    /// Splits `0..total` into even ranges of at least `min_length`, and calls `work` for each of them on the threads of the team.
    pub(super) fn for_each_range(&self, total: usize, min_length: usize, work: impl Fn(Range<usize>) + Sync) {
        // There are more ranges than threads, so that a thread that starts late still finds some.
        let ranges = match self.available() {
            1 => 1,
            threads => (total / min_length).clamp(1, threads * 4),
        };
        self.run(ranges, |index| work(total * index / ranges..total * (index + 1) / ranges));
    }

    fn helpers(&self) -> &[Helper] {
        self.helpers.get_or_init(|| {
            let start = |index: usize| {
                let asleep = Arc::new(AtomicBool::new(false));
                let (shared, flag, threads) = (Arc::clone(&self.shared), Arc::clone(&asleep), self.requested);
                let builder = thread::Builder::new().name(format!("kiln-cpu-{index}"));
                // If the operating system has no thread left, the others do its work.
                let handle = builder.spawn(move || shared.run_helper(index, threads, &flag)).ok()?;
                Some(Helper { handle, asleep })
            };
            (1..self.requested).filter_map(start).collect()
        })
    }

    /// Runs all items of a step, and returns when they are done.
    fn run_step(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        let items = u32::try_from(items).expect("a step has fewer than 2^32 items");
        let shared = &*self.shared;
        // SAFETY: threads use the reference only for claimed items. All items are done before this function returns, and it
        // does not unwind before that. Afterwards no item can be claimed until the next step has stored its own function.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        let work = Work(work, thread::current());
        *shared.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        shared.done.store(0, Ordering::Relaxed);
        shared.state.store(u64::from(items) << 32, Ordering::SeqCst);
        for helper in self.helpers().iter().take(shared.unoccupied(self.threads()) - 1) {
            if helper.asleep.load(Ordering::SeqCst) {
                helper.handle.thread().unpark();
            }
        }
        while shared.run_one_item() {}
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < items as usize {
            spin_or(&mut spins, || {
                shared.waiting.store(true, Ordering::SeqCst);
                // Check again after setting the flag, as in `run_helper`.
                if shared.done.load(Ordering::SeqCst) < items as usize {
                    thread::park();
                }
                shared.waiting.store(false, Ordering::SeqCst);
            });
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("an item of the CPU thread team panicked; its own message is above"));
        }
    }
}

impl Drop for ThreadTeam {
    /// Ends the helpers and waits for them.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let helpers = self.helpers.take().unwrap_or_default();
        helpers.iter().for_each(|helper| helper.handle.thread().unpark());
        for helper in helpers {
            // A thread cannot wait for itself. A helper catches the panics of items, so its own result says nothing.
            if helper.handle.thread().id() != thread::current().id() {
                let _ = helper.handle.join();
            }
        }
    }
}

impl std::fmt::Debug for ThreadTeam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadTeam").field("requested", &self.requested).finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns how many of `threads` threads one run may use beside the others. A caller without an [`ActiveRun`] counts as
    /// one.
    fn unoccupied(&self, threads: usize) -> usize {
        threads.saturating_sub(self.active_runs.load(Ordering::SeqCst).saturating_sub(1)).max(1)
    }

    fn has_items(&self) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        (state & 0xffff_ffff) < state >> 32
    }

    /// Claims an item and runs it. Returns `false` if there is none.
    fn run_one_item(&self) -> bool {
        // Without this check, idle helpers would overflow the counter.
        if !self.has_items() {
            return false;
        }
        let state = self.state.fetch_add(1, Ordering::AcqRel);
        let (items, item) = ((state >> 32) as usize, (state & 0xffff_ffff) as usize);
        if item >= items {
            return false;
        }
        // From here to the end of the item the step cannot end, so this is the function of the same step.
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Work(work, caller) = work.expect("a step is published with its function");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            IN_ITEM.with(|in_item| in_item.set(true));
            work(item);
        }));
        IN_ITEM.with(|in_item| in_item.set(false));
        if outcome.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        if self.done.fetch_add(1, Ordering::SeqCst) + 1 == items && self.waiting.load(Ordering::SeqCst) {
            caller.unpark();
        }
        true
    }

    /// The loop of helper `index` of a team of `threads` threads.
    fn run_helper(&self, index: usize, threads: usize, asleep: &AtomicBool) {
        let may_help = || index < self.unoccupied(threads);
        let mut spins = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            if may_help() && self.run_one_item() {
                spins = 0;
                continue;
            }
            spin_or(&mut spins, || {
                asleep.store(true, Ordering::SeqCst);
                // Check again after setting the flag: this check finds a step that began before, and a later step finds the
                // flag. A stop unparks the thread in any case.
                if !(may_help() && self.has_items()) {
                    thread::park();
                }
                asleep.store(false, Ordering::SeqCst);
            });
        }
    }
}

/// Spins one round, or calls `sleep` after [`SPINS`] rounds.
fn spin_or(spins: &mut u32, sleep: impl FnOnce()) {
    if *spins < SPINS {
        *spins += 1;
        hint::spin_loop();
    } else {
        sleep();
    }
}

#[cfg(all(test, shuttle))]
#[path = "thread_team_model.rs"]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let team = ThreadTeam::new(threads);
            for items in [2_usize, 3, 64, 1000] {
                let done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                team.run_step(items, &|item| {
                    done[item].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{items} on {threads}");
            }
        }
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn threads_start_at_first_use_and_end_with_the_team() {
        let count = || std::fs::read_dir("/proc/self/task").unwrap().count();
        let before = count();
        let team = ThreadTeam::new(200);
        assert!(count() < before + 100, "other tests start a few");
        assert_eq!(team.threads(), 200);
        assert!(count() >= before + 100, "other tests end a few");
        drop(team);
        assert!(count() < before + 100, "other tests start a few");
    }

    #[test]
    fn nested_steps_run_on_the_thread_of_their_item() {
        let team = ThreadTeam::new(3);
        team.run(4, |_| {
            let outer = std::thread::current().id();
            team.run(8, |_| assert_eq!(std::thread::current().id(), outer));
        });
    }

    #[test]
    fn active_runs_take_threads_from_each_other() {
        let team = ThreadTeam::new(3);
        let _first = team.begin_run();
        assert_eq!(team.available(), team.threads());
        let others: Vec<ActiveRun<'_>> = (1..team.threads()).map(|_| team.begin_run()).collect();
        let here = std::thread::current().id();
        team.run(64, |_| assert_eq!(std::thread::current().id(), here));
        let one_too_many = team.begin_run();
        assert_eq!(team.available(), 1);
        drop((others, one_too_many));
        assert_eq!(team.available(), team.threads());
    }

    #[test]
    fn helpers_share_work_after_a_panic() {
        let team = ThreadTeam::new(3);
        let intended = || team.run(4, |item| assert!(item != 2, "this panic is intended"));
        assert!(catch_unwind(AssertUnwindSafe(intended)).is_err());
        let arrived = AtomicUsize::new(0);
        loop {
            let here = std::thread::current().id();
            let helped = AtomicBool::new(false);
            team.run(64, |_| {
                arrived.fetch_add(1, Ordering::Relaxed);
                helped.fetch_or(std::thread::current().id() != here, Ordering::Relaxed);
                std::thread::yield_now();
            });
            if helped.load(Ordering::Relaxed) {
                break;
            }
            assert!(arrived.load(Ordering::Relaxed) < 64 * 100_000, "no helper ran an item");
        }
    }

    #[test]
    fn panic_reaches_the_caller_after_all_items_are_done() {
        let team = ThreadTeam::new(2);
        let done = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            team.run_step(20, &|item| {
                done.fetch_add(1, Ordering::Relaxed);
                assert!(item != 7, "this panic is intended");
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(done.load(Ordering::Relaxed), 20);
        team.run_step(3, &|_| ());
    }
}

//! The threads that share the work of the CPU kernels: a small team that spins between the steps of a network.
//!
//! A network is some dozens of steps of 50 to 500 microseconds. Waking a sleeping thread for each step would cost a tenth of
//! that, so helper threads spin for a moment before they sleep. A caller publishes a step, all threads claim its items one
//! by one from a counter, and the caller waits for the last item. If the operating system preempts a helper, it delays the
//! step only if it holds an item. A work-stealing pool like rayon's does not spin long enough for such short steps.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;

thread_local! {
    /// Whether this thread runs an item. Steps within an item run on its thread alone.
    static IN_ITEM: Cell<bool> = const { Cell::new(false) };
}

static TEAM: OnceLock<ThreadTeam> = OnceLock::new();

fn team() -> &'static ThreadTeam {
    TEAM.get_or_init(|| ThreadTeam::start(default_count()))
}

/// Sets the number of threads that share the work, including the caller's.
///
/// Only the first call has an effect. Without a call, [`run`] uses [`default_count`].
pub fn configure(threads: usize) {
    // `OnceLock::set` would start helpers that are never used and never end.
    TEAM.get_or_init(|| ThreadTeam::start(threads.max(1)));
}

/// Returns the number of threads in use.
pub fn count() -> usize {
    team().threads
}

/// Returns the number of threads for a step that starts on this thread now: those that no other [`ActiveRun`] occupies.
pub fn available() -> usize {
    if IN_ITEM.get() { 1 } else { unoccupied(count()) }
}

/// Marks its thread as running a network. Each one takes a helper away from the other callers, so that no more threads work
/// than were configured.
#[derive(Debug)]
#[must_use = "a guard that is dropped at once occupies no thread"]
pub struct ActiveRun(());

/// The number of [`ActiveRun`]s.
static ACTIVE_RUNS: AtomicUsize = AtomicUsize::new(0);

impl ActiveRun {
    /// Marks this thread as running a network.
    pub fn begin() -> Self {
        ACTIVE_RUNS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for ActiveRun {
    fn drop(&mut self) {
        ACTIVE_RUNS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns how many of `threads` threads one run may use beside the others. A caller without an [`ActiveRun`] counts as one.
fn unoccupied(threads: usize) -> usize {
    threads.saturating_sub(ACTIVE_RUNS.load(Ordering::SeqCst).saturating_sub(1)).max(1)
}

/// Returns the default number of threads: the physical cores that this process may use. Two threads on one core would
/// compete for its multipliers.
pub fn default_count() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.min(num_cpus::get_physical()).max(1)
}

/// Calls `work` once for each item in `0..items`, on any thread of the team, and returns when all items are done.
///
/// All items run on the calling thread if it is itself within an item, if another caller uses the team, or if other
/// [`ActiveRun`]s leave no helper.
///
/// # Panics
///
/// Panics if an item panicked, after all other items are done.
pub fn run(items: usize, work: impl Fn(usize) + Sync) {
    if items <= 1 || IN_ITEM.get() {
        return (0..items).for_each(work);
    }
    let team = team();
    let step = match team.step.try_lock() {
        Ok(step) => Some(step),
        // An item of an earlier step panicked. The lock protects no data.
        Err(TryLockError::Poisoned(step)) => Some(step.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if step.is_some() && unoccupied(team.threads) > 1 {
        team.run_step(items, &work);
    } else {
        (0..items).for_each(work);
    }
}

/// Splits `0..total` into even ranges of at least `min_length`, and calls `work` for each of them on the threads of the team.
pub(super) fn for_each_range(total: usize, min_length: usize, work: impl Fn(Range<usize>) + Sync) {
    // There are more ranges than threads, so that a thread that starts late still finds some.
    let ranges = match available() {
        1 => 1,
        threads => (total / min_length).clamp(1, threads * 4),
    };
    run(ranges, |index| work(total * index / ranges..total * (index + 1) / ranges));
}

/// Rounds of spinning before a helper or a waiting caller sleeps: some tens of microseconds. With 800 rounds, which is less
/// than an item takes, a single image takes 2 % longer, and a busy server takes the same time.
const SPINS: u32 = 5_000;

/// The helper threads, and the state of the current step.
struct ThreadTeam {
    threads: usize,
    shared: Arc<Shared>,
    helpers: Vec<Helper>,
    /// Held during a step.
    step: Mutex<()>,
}

struct Helper {
    thread: Thread,
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
}

/// The function of a step, with its lifetime erased (see [`ThreadTeam::run_step`]), and the calling thread.
#[derive(Clone)]
struct Work(&'static (dyn Fn(usize) + Sync), Thread);

impl ThreadTeam {
    fn start(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let helper = |index: usize| {
            let asleep = Arc::new(AtomicBool::new(false));
            let (shared, flag) = (Arc::clone(&shared), Arc::clone(&asleep));
            let may_help = move || index < unoccupied(threads);
            let thread = std::thread::Builder::new().name(format!("kiln-cpu-{index}"));
            // If the operating system has no thread left, the others do its work.
            let handle = thread.spawn(move || run_helper(&shared, &flag, may_help)).ok()?;
            Some(Helper { thread: handle.thread().clone(), asleep })
        };
        let helpers: Vec<Helper> = (1..threads).filter_map(helper).collect();
        Self { threads: helpers.len() + 1, shared, helpers, step: Mutex::new(()) }
    }

    /// Runs all items of a step, and returns when they are done.
    fn run_step(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        let items = u32::try_from(items).expect("a step has fewer than 2^32 items");
        let shared = &*self.shared;
        // SAFETY: threads use the reference only for claimed items. All items are done before this function returns, and it
        // does not unwind before that. Afterwards no item can be claimed until the next step has stored its own function.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        let work = Work(work, std::thread::current());
        *shared.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        shared.done.store(0, Ordering::Relaxed);
        shared.state.store(u64::from(items) << 32, Ordering::SeqCst);
        for helper in self.helpers.iter().take(unoccupied(self.threads) - 1) {
            if helper.asleep.load(Ordering::SeqCst) {
                helper.thread.unpark();
            }
        }
        while shared.run_one_item() {}
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < items as usize {
            spin_or(&mut spins, || {
                shared.waiting.store(true, Ordering::SeqCst);
                // Check again after setting the flag, as in `run_helper`.
                if shared.done.load(Ordering::SeqCst) < items as usize {
                    std::thread::park();
                }
                shared.waiting.store(false, Ordering::SeqCst);
            });
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("an item of the CPU thread team panicked; its own message is above"));
        }
    }
}

impl Shared {
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
        let (items, item) = (state >> 32, state & 0xffff_ffff);
        if item >= items {
            return false;
        }
        // From here to the end of the item the step cannot end, so this is the function of the same step.
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Work(work, caller) = work.expect("a step is published with its function");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            IN_ITEM.set(true);
            work(item as usize);
        }));
        IN_ITEM.set(false);
        if outcome.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        if self.done.fetch_add(1, Ordering::SeqCst) + 1 == items as usize && self.waiting.load(Ordering::SeqCst) {
            caller.unpark();
        }
        true
    }
}

/// The loop of a helper thread. It ends with the process.
fn run_helper(shared: &Shared, asleep: &AtomicBool, may_help: impl Fn() -> bool) {
    let mut spins = 0;
    loop {
        if may_help() && shared.run_one_item() {
            spins = 0;
            continue;
        }
        spin_or(&mut spins, || {
            asleep.store(true, Ordering::SeqCst);
            // Check again after setting the flag: this check finds a step that began before, and a later step finds the
            // flag.
            if !(may_help() && shared.has_items()) {
                std::thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
        });
    }
}

/// Spins one round, or calls `sleep` after [`SPINS`] rounds.
fn spin_or(spins: &mut u32, sleep: impl FnOnce()) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        sleep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_once_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let team = ThreadTeam::start(threads);
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
    fn only_the_first_configuration_starts_threads() {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        configure(3);
        let (team, before) = (count(), threads());
        configure(200);
        assert!(threads() < before + 100, "other tests start a few");
        assert_eq!(count(), team);
    }

    #[test]
    fn nested_steps_run_on_the_thread_of_their_item() {
        configure(3);
        run(4, |_| {
            let outer = std::thread::current().id();
            run(8, |_| assert_eq!(std::thread::current().id(), outer));
        });
    }

    #[test]
    fn active_runs_take_threads_from_each_other() {
        configure(3);
        let _first = ActiveRun::begin();
        assert_eq!(available(), count());
        let others: Vec<ActiveRun> = (1..count()).map(|_| ActiveRun::begin()).collect();
        let here = std::thread::current().id();
        run(64, |_| assert_eq!(std::thread::current().id(), here));
        let one_too_many = ActiveRun::begin();
        assert_eq!(available(), 1);
        drop((others, one_too_many));
        assert_eq!(available(), count());
    }

    #[test]
    fn helpers_share_work_after_a_panic() {
        configure(3);
        let intended = || run(4, |item| assert!(item != 2, "this panic is intended"));
        assert!(catch_unwind(AssertUnwindSafe(intended)).is_err());
        // Another test may use the team for a moment.
        let arrived = AtomicUsize::new(0);
        loop {
            let here = std::thread::current().id();
            let helped = AtomicBool::new(false);
            run(64, |_| {
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
        let team = ThreadTeam::start(2);
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

//! The threads that share the CPU engine's work: a small team that spins between the steps of a network.
//!
//! A network is some dozens of steps of 50 to 500 microseconds. Waking a sleeping thread for each would cost a tenth of
//! that, so helpers spin for a moment before they sleep. Items are claimed one by one from a counter: a helper that the
//! operating system took away delays a step only if it holds an item.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;

/// Rounds of spinning before a helper, or a waiting caller, sleeps: some ten microseconds. 5000 rounds were no quicker.
const SPINS: u32 = 800;

thread_local! {
    /// This thread works on an item, or was told to work alone: steps within it are not shared.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// How many threads share the work, the caller's included.
///
/// The first call decides, and [`run`] uses [`default_count`] if there was none.
pub fn configure(threads: usize) {
    let _ = TEAM.set(Team::start(threads.max(1)));
}

/// The number of threads in use.
pub fn count() -> usize {
    team().threads
}

/// How many threads a step that starts here would get.
pub(crate) fn available() -> usize {
    if ALONE.get() { 1 } else { count() }
}

/// One thread for each physical core that this process may use: two on one core compete for its multipliers.
pub fn default_count() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.min(num_cpus::get_physical()).max(1)
}

/// Calls `work` once for each item in `0..items`, on any thread of the team, and returns when all are done.
///
/// Within an item, or while another caller has the team, everything runs on the calling thread.
///
/// # Panics
///
/// An item panicked. The others have been done then.
pub fn run(items: usize, work: impl Fn(usize) + Sync) {
    if items <= 1 || ALONE.get() {
        return (0..items).for_each(work);
    }
    let team = team();
    let step = match team.step.try_lock() {
        Ok(step) => Some(step),
        // An item of an earlier step panicked, which leaves nothing behind.
        Err(TryLockError::Poisoned(step)) => Some(step.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    };
    if step.is_some() && !team.helpers.is_empty() {
        team.share(items, &work);
    } else {
        (0..items).for_each(work);
    }
}

static TEAM: OnceLock<Team> = OnceLock::new();

fn team() -> &'static Team {
    TEAM.get_or_init(|| Team::start(default_count()))
}

struct Team {
    threads: usize,
    shared: Arc<Shared>,
    helpers: Vec<Helper>,
    /// Held for the time of a step.
    step: Mutex<()>,
}

struct Helper {
    thread: Thread,
    asleep: Arc<AtomicBool>,
}

/// What all threads see.
#[derive(Default)]
struct Shared {
    /// The step's number of items in the upper half, the next to be claimed in the lower.
    state: AtomicU64,
    /// Items of the step that are done.
    done: AtomicUsize,
    /// An item panicked.
    panicked: AtomicBool,
    /// The caller sleeps until all items are done.
    waiting: AtomicBool,
    /// What to do with an item of the step.
    work: Mutex<Option<Work>>,
}

/// A step's function, its lifetime taken off (see [`Team::share`]), and who called.
#[derive(Clone)]
struct Work(&'static (dyn Fn(usize) + Sync), Thread);

impl Team {
    fn start(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let helper = |index: usize| {
            let asleep = Arc::new(AtomicBool::new(false));
            let (shared, flag) = (Arc::clone(&shared), Arc::clone(&asleep));
            let thread = std::thread::Builder::new().name(format!("kiln-cpu-{index}"));
            // A thread that is not to be had is work for the others.
            let handle = thread.spawn(move || help(&shared, &flag)).ok()?;
            Some(Helper { thread: handle.thread().clone(), asleep })
        };
        let helpers: Vec<Helper> = (1..threads).filter_map(helper).collect();
        Self { threads: helpers.len() + 1, shared, helpers, step: Mutex::new(()) }
    }

    fn share(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        let items = u32::try_from(items).expect("a step has fewer than 2^32 items");
        let shared = &*self.shared;
        // SAFETY: the reference is only used for claimed items, all items are done before this function returns (it
        // does not unwind before), and nothing can be claimed afterwards until the next step has put its own in place.
        let work = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        let work = Work(work, std::thread::current());
        *shared.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        shared.done.store(0, Ordering::Relaxed);
        shared.state.store(u64::from(items) << 32, Ordering::SeqCst);
        for helper in &self.helpers {
            if helper.asleep.load(Ordering::SeqCst) {
                helper.thread.unpark();
            }
        }
        while shared.work_on_one() {}
        let mut spins = 0;
        while shared.done.load(Ordering::Acquire) < items as usize {
            pause(&mut spins, || {
                shared.waiting.store(true, Ordering::SeqCst);
                // Looked at again after the flag is up, as in `help`.
                if shared.done.load(Ordering::SeqCst) < items as usize {
                    std::thread::park();
                }
                shared.waiting.store(false, Ordering::SeqCst);
            });
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a part of the CPU engine's work panicked; its message stands above"));
        }
    }
}

impl Shared {
    fn has_items(&self) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        (state & 0xffff_ffff) < state >> 32
    }

    /// Claims an item and works on it. `false` if there is none.
    fn work_on_one(&self) -> bool {
        // Looked at before it is counted up, or idle helpers would overflow it.
        if !self.has_items() {
            return false;
        }
        let state = self.state.fetch_add(1, Ordering::AcqRel);
        let (items, item) = (state >> 32, state & 0xffff_ffff);
        if item >= items {
            return false;
        }
        // From here to the end of the item the step cannot end, so its function is the one that is read.
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Work(work, caller) = work.expect("a step was published with its function");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            ALONE.set(true);
            work(item as usize);
        }));
        ALONE.set(false);
        if outcome.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        if self.done.fetch_add(1, Ordering::SeqCst) + 1 == items as usize && self.waiting.load(Ordering::SeqCst) {
            caller.unpark();
        }
        true
    }
}

/// A helper's life. It ends with the process: the team is never taken down.
fn help(shared: &Shared, asleep: &AtomicBool) {
    let mut spins = 0;
    loop {
        if shared.work_on_one() {
            spins = 0;
            continue;
        }
        pause(&mut spins, || {
            asleep.store(true, Ordering::SeqCst);
            // Looked at again after the flag is up: a step that began before it is seen here, a later one sees the flag.
            if !shared.has_items() {
                std::thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
        });
    }
}

/// Spins a round, or does something gentler if that has gone on for long.
fn pause(spins: &mut u32, gentler: impl FnOnce()) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        gentler();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_whatever_the_number_of_threads() {
        for threads in [1, 2, 5] {
            let team = Team::start(threads);
            for items in [2_usize, 3, 64, 1000] {
                let done: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                team.share(items, &|item| {
                    done[item].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{items} on {threads}");
            }
        }
    }

    #[test]
    fn steps_within_an_item_stay_on_its_thread() {
        configure(3);
        run(4, |_| {
            let outer = std::thread::current().id();
            run(8, |_| assert_eq!(std::thread::current().id(), outer));
        });
    }

    #[test]
    fn a_panic_does_not_end_the_sharing() {
        configure(3);
        let meant = || run(4, |item| assert!(item != 2, "this panic is meant"));
        assert!(catch_unwind(AssertUnwindSafe(meant)).is_err());
        // Another test may have the team for a moment.
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
            assert!(arrived.load(Ordering::Relaxed) < 64 * 100_000, "no helper came");
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_items_and_the_team_goes_on() {
        let team = Team::start(2);
        let done = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            team.share(20, &|item| {
                done.fetch_add(1, Ordering::Relaxed);
                assert!(item != 7, "this panic is meant");
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(done.load(Ordering::Relaxed), 20);
        team.share(3, &|_| ());
    }
}

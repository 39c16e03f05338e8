//! The team itself: a caller publishes a step, everybody claims its items, the caller waits for the last.
//!
//! A network is some dozens of steps of 50 to 500 microseconds. Waking a sleeping thread for each would cost a tenth of
//! that, so helpers spin for a moment before they sleep. Items are claimed one by one from a counter: a helper that the
//! operating system took away delays a step only if it holds an item.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use super::{ALONE, unoccupied};

/// Rounds of spinning before a helper, or a waiting caller, sleeps: some tens of microseconds. With 800, which is less than
/// an item takes, a lone picture takes 2 % longer; a busy server does not care.
const SPINS: u32 = 5_000;

/// Threads that wait for steps, and the place where the next one is published.
pub(super) struct Team {
    pub(super) threads: usize,
    shared: Arc<Shared>,
    pub(super) helpers: Vec<Helper>,
    /// Held for the time of a step.
    pub(super) step: Mutex<()>,
}

pub(super) struct Helper {
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
    pub(super) fn start(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let helper = |index: usize| {
            let asleep = Arc::new(AtomicBool::new(false));
            let (shared, flag) = (Arc::clone(&shared), Arc::clone(&asleep));
            let may_help = move || index < unoccupied(threads);
            let thread = std::thread::Builder::new().name(format!("kiln-cpu-{index}"));
            // A thread that is not to be had is work for the others.
            let handle = thread.spawn(move || help(&shared, &flag, may_help)).ok()?;
            Some(Helper { thread: handle.thread().clone(), asleep })
        };
        let helpers: Vec<Helper> = (1..threads).filter_map(helper).collect();
        Self { threads: helpers.len() + 1, shared, helpers, step: Mutex::new(()) }
    }

    /// Has all items done, and returns then.
    pub(super) fn share(&self, items: usize, work: &(dyn Fn(usize) + Sync)) {
        let items = u32::try_from(items).expect("a step has fewer than 2^32 items");
        let shared = &*self.shared;
        // SAFETY: the reference is only used for claimed items, all items are done before this function returns (it
        // does not unwind before), and nothing can be claimed afterwards until the next step has put its own in place.
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
fn help(shared: &Shared, asleep: &AtomicBool, may_help: impl Fn() -> bool) {
    let mut spins = 0;
    loop {
        if may_help() && shared.work_on_one() {
            spins = 0;
            continue;
        }
        pause(&mut spins, || {
            asleep.store(true, Ordering::SeqCst);
            // Looked at again after the flag is up: a step that began before it is seen here, a later one sees the flag.
            if !(may_help() && shared.has_items()) {
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

//! The threads that share the CPU engine's work: a small team that spins between the steps of a network.
//!
//! Here is what callers see; how the team works is in `team.rs`.

mod team;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, TryLockError};

use team::Team;

thread_local! {
    /// This thread works on an item, or was told to work alone: steps within it are not shared.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// How many threads share the work, the caller's included.
///
/// The first call decides, and [`run`] uses [`default_count`] if there was none.
pub fn configure(threads: usize) {
    // Asked first: helpers that were started in vain would stay as long as the process.
    TEAM.get_or_init(|| Team::start(threads.max(1)));
}

/// The number of threads in use.
pub fn count() -> usize {
    team().threads
}

/// How many threads a step that starts here would get: those that no other [`Run`] occupies.
pub fn available() -> usize {
    if ALONE.get() { 1 } else { unoccupied(count()) }
}

/// Says, while it lives, that its thread is at work on a network. The team then has one helper less for the others, so that
/// there are never more threads at work than were asked for.
#[derive(Debug)]
#[must_use = "a run that is dropped at once occupies nothing"]
pub struct Run(());

/// How many [`Run`]s there are.
static RUNS: AtomicUsize = AtomicUsize::new(0);

impl Run {
    /// Begins one on this thread.
    pub fn begin() -> Self {
        RUNS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        RUNS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Of so many threads, how many one run may use beside the others. A caller that is in no run counts as one.
fn unoccupied(threads: usize) -> usize {
    threads.saturating_sub(RUNS.load(Ordering::SeqCst).saturating_sub(1)).max(1)
}

/// One thread for each physical core that this process may use: two on one core compete for its multipliers.
pub fn default_count() -> usize {
    let usable = std::thread::available_parallelism().map_or(1, usize::from);
    usable.min(num_cpus::get_physical()).max(1)
}

/// Calls `work` once for each item in `0..items`, on any thread of the team, and returns when all are done.
///
/// Within an item, while another caller has the team, or while other [`Run`]s leave no helper, everything runs on the
/// calling thread.
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
    if step.is_some() && unoccupied(team.threads) > 1 {
        team.share(items, &work);
    } else {
        (0..items).for_each(work);
    }
}

static TEAM: OnceLock<Team> = OnceLock::new();

fn team() -> &'static Team {
    TEAM.get_or_init(|| Team::start(default_count()))
}

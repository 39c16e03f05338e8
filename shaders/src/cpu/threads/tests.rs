//! The team at work: every item once, on one thread or many, panics or not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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

#[cfg(all(target_os = "linux", not(miri)))]
#[test]
fn only_the_first_call_starts_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    configure(3);
    let (team, before) = (count(), threads());
    configure(200);
    assert!(threads() < before + 100, "other tests start a few");
    assert_eq!(count(), team);
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
fn whoever_runs_beside_others_leaves_them_their_threads() {
    configure(3);
    let _first = Run::begin();
    assert_eq!(available(), count());
    let others: Vec<Run> = (1..count()).map(|_| Run::begin()).collect();
    let here = std::thread::current().id();
    run(64, |_| assert_eq!(std::thread::current().id(), here));
    let one_too_many = Run::begin();
    assert_eq!(available(), 1);
    drop((others, one_too_many));
    assert_eq!(available(), count());
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

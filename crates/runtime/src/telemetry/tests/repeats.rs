//! Warnings and errors that repeat: which are shown, and that the others are told.

use std::time::Instant;

use super::super::{repeats, target};
use super::*;

#[test]
fn warnings_that_repeat_are_held_back_and_told_once_and_nothing_else_is() {
    let buffer = json("info", |throttle| {
        for number in 0..20 {
            tracing::warn!(number, "it failed");
            // At once after one that was held back.
            tracing::info!("it goes on");
            tracing::warn!(target: target::ACCESS, status = 500, "answered");
        }
        tracing::warn!("another one");
        // The window is not over yet.
        throttle.tell(Instant::now(), false);
        throttle.tell(Instant::now() + repeats::WINDOW, false);
        throttle.tell(Instant::now() + repeats::WINDOW, true);
    });
    let counts = ["it failed", "it goes on", "answered", "another one"].map(|message| buffer.count(message));
    assert_eq!(counts, [5, 20, 20, 1]);
    let told: Vec<_> = buffer.lines().into_iter().filter(|line| line.0 == target::LOG).collect();
    let [(_, message, line)] = &told[..] else { panic!("{told:#?}") };
    assert_eq!((message.as_str(), &line["level"]), ("repeats were held back", &"WARN".into()));
    assert_eq!((&line["lines"], &line["like"]), (&15.into(), &"it failed".into()));
    assert_eq!(line["source"], module_path!());
    assert!((10.0..11.0).contains(&line["over_s"].as_f64().unwrap()), "{line}");
}

#[test]
fn who_sees_the_repeats_of_a_place_sees_how_many_were_held_back() {
    let fails = |throttle: &Throttle| {
        (0..9).for_each(|_| tracing::error!(target: "part", "it failed"));
        throttle.tell(Instant::now(), true);
    };
    for (level, told) in [("error", 1), ("off,part=error", 1), ("off", 0), ("error,kiln::log=off", 0)] {
        assert_eq!(json(level, fails).count("repeats were held back"), told, "{level}");
    }
}

#[test]
fn lines_of_the_log_crate_repeat_by_where_they_come_from() {
    // As `tracing-log` hands them on: all of one level are one call site.
    let relayed = |origin: &str| {
        tracing::warn!(target: "log", { log.target = origin, log.line = 7u64 }, "relayed");
    };
    let buffer = json("info", |throttle| {
        ["one", "other", "one"].iter().cycle().take(27).for_each(|origin| relayed(origin));
        throttle.tell(Instant::now(), true);
    });
    let mut told: Vec<_> = buffer.lines().into_iter().filter(|line| line.0 == target::LOG).map(|line| line.2).collect();
    told.sort_by_key(|line| line["lines"].as_u64());
    let told: Vec<_> =
        told.iter().map(|line| (line["source"].as_str().unwrap(), line["lines"].as_u64().unwrap())).collect();
    assert_eq!((buffer.count("relayed"), &told[..]), (10, &[("other", 4), ("one", 13)][..]));
}

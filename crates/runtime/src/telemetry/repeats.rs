//! When a line that repeats is held back: the policy alone, without a clock and without lines.
//!
//! The first [`SHOWN`] of one place are shown. The others are counted until the window that began with the first of
//! them is over.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How many lines of one place a window shows.
pub(super) const SHOWN: u64 = 5;
/// How long lines of one place are counted together. It ends when somebody looks, thus a little later.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// How many places are watched at once; lines of further ones are shown. Kiln and all it is made of have fewer.
const PLACES: usize = 1024;

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is logged.
    Show,
    /// It is not, and it is the first of its window: the place wants a description.
    Describe,
    /// It is not.
    Hold,
}

/// How many lines of a place were held back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held<D> {
    /// What was said of the place, if it has been said already.
    pub(super) description: Option<D>,
    pub(super) lines: u64,
    pub(super) over: Duration,
}

/// The places that had lines lately. `P` tells them apart, `D` describes them.
#[derive(Debug)]
pub(super) struct Repeats<P, D>(HashMap<P, Window<D>>);

#[derive(Debug)]
struct Window<D> {
    begun: Instant,
    seen: u64,
    description: Option<D>,
}

impl<P: Eq + Hash, D> Repeats<P, D> {
    pub(super) fn none() -> Self {
        Self(HashMap::new())
    }

    /// A line comes from `place`.
    pub(super) fn judge(&mut self, place: P, now: Instant) -> Verdict {
        if self.0.len() >= PLACES && !self.0.contains_key(&place) {
            return Verdict::Show;
        }
        let window = self.0.entry(place).or_insert(Window { begun: now, seen: 0, description: None });
        window.seen += 1;
        match window.seen - 1 {
            before if before < SHOWN => Verdict::Show,
            SHOWN => Verdict::Describe,
            _ => Verdict::Hold,
        }
    }

    /// Says what the lines of `place` are.
    pub(super) fn describe(&mut self, place: &P, description: D) {
        if let Some(window) = self.0.get_mut(place) {
            window.description = Some(description);
        }
    }

    /// Ends the windows that are over, or all of them, and gives those that held lines back.
    pub(super) fn end(&mut self, now: Instant, all: bool) -> Vec<Held<D>> {
        let over = |window: &mut Window<D>| all || now.saturating_duration_since(window.begun) >= WINDOW;
        let ended = self.0.extract_if(|_, window| over(window)).map(|(_, window)| window);
        let held = ended.filter(|window| window.seen > SHOWN).map(|window| Held {
            description: window.description,
            lines: window.seen - SHOWN,
            over: now.saturating_duration_since(window.begun),
        });
        held.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(repeats: &mut Repeats<usize, &str>, place: usize, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| repeats.judge(place, now) == Verdict::Show).count()
    }

    #[test]
    fn the_first_of_a_place_are_shown_and_the_others_counted_until_the_window_is_over() {
        let (mut repeats, start) = (Repeats::none(), Instant::now());
        assert_eq!(shown(&mut repeats, 1, 5, start), 5);
        assert_eq!(repeats.judge(1, start), Verdict::Describe);
        repeats.describe(&1, "one");
        assert_eq!(repeats.judge(1, start + WINDOW), Verdict::Hold, "nobody has looked yet");
        assert_eq!(shown(&mut repeats, 2, 9, start + WINDOW / 2), 5, "another place has its own window");
        assert_eq!(repeats.end(start + WINDOW - Duration::from_millis(1), false), []);
        let held = Held { description: Some("one"), lines: 2, over: WINDOW };
        assert_eq!(repeats.end(start + WINDOW, false), [held]);
        assert_eq!(shown(&mut repeats, 1, 9, start + WINDOW), 5, "the next window shows as many");
    }

    #[test]
    fn a_place_that_held_nothing_is_forgotten_without_a_word() {
        let (mut repeats, start) = (Repeats::none(), Instant::now());
        assert_eq!(shown(&mut repeats, 1, 5, start), 5);
        assert_eq!(repeats.end(start + WINDOW, false), []);
        assert!(repeats.0.is_empty());
    }

    #[test]
    fn at_the_end_all_is_told() {
        let (mut repeats, start) = (Repeats::none(), Instant::now());
        shown(&mut repeats, 1, 7, start);
        let held = Held { description: None, lines: 2, over: Duration::ZERO };
        assert_eq!(repeats.end(start, true), [held]);
    }

    #[test]
    fn places_without_end_take_memory_of_so_many_and_are_shown_all_the_same() {
        let (mut repeats, start) = (Repeats::none(), Instant::now());
        assert!((0..PLACES * 2).all(|place| repeats.judge(place, start) == Verdict::Show));
        assert_eq!(repeats.0.len(), PLACES);
        assert_eq!(shown(&mut repeats, 0, 9, start), 4);
    }
}

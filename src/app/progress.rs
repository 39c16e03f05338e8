//! How far long work is, for a person at a terminal: on standard error, and only where that is one.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often what moves by itself moves.
const TICK: Duration = Duration::from_millis(100);

/// A bar for so many steps, of the form that indicatif's `template` says.
pub(super) fn bar(length: usize, template: &str) -> ProgressBar {
    shown(ProgressBar::new(length as u64), template)
}

/// The same for work whose end is not known. It turns by itself.
pub(super) fn spinner(template: &str) -> ProgressBar {
    turning(shown(ProgressBar::new_spinner(), template))
}

/// Has time, and what turns, go on while nobody says how far the work is.
pub(super) fn turning(bar: ProgressBar) -> ProgressBar {
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

fn shown(bar: ProgressBar, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

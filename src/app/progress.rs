//! Progress bars on standard error. They are hidden if standard error is not a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Interval between two redraws of a bar that moves by itself.
const TICK: Duration = Duration::from_millis(100);

/// Returns a bar of `length` steps with an indicatif template.
pub(super) fn bar(length: usize, template: &str) -> ProgressBar {
    styled(ProgressBar::new(length as u64), template)
}

/// Returns a bar of unknown length that is hidden until [`show`].
pub(super) fn hidden_bar(template: &str) -> ProgressBar {
    ProgressBar::hidden().with_style(style(template))
}

/// Shows a bar of [`hidden_bar`].
pub(super) fn show(bar: &ProgressBar) {
    if is_shown() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
}

/// Returns whether bars are shown: whether standard error is a terminal.
pub(super) fn is_shown() -> bool {
    std::io::stderr().is_terminal()
}

/// Returns a spinner, for work of unknown length. It turns by itself.
pub(super) fn spinner(template: &str) -> ProgressBar {
    self_updating(styled(ProgressBar::new_spinner(), template))
}

/// Redraws the elapsed time and the spinner of a bar regularly, even without progress.
pub(super) fn self_updating(bar: ProgressBar) -> ProgressBar {
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    if !is_shown() {
        return ProgressBar::hidden();
    }
    bar.with_style(style(template))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

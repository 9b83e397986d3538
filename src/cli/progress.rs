//! How far a long command is: a bar on a terminal, and nothing where standard error is none.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// How often what moves by itself moves.
const TICK: Duration = Duration::from_millis(120);

/// A bar over so many octets.
#[must_use]
pub fn octets(doing: &'static str, all: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    bar(ProgressBar::new(all), doing, TEMPLATE)
}

/// A bar over so many messages.
#[must_use]
pub fn messages(doing: &'static str, all: u64) -> ProgressBar {
    bar(ProgressBar::new(all), doing, "{msg} [{bar:30}] {pos}/{len} messages, {per_sec}, {eta} left")
}

/// Something that turns for as long as it takes.
#[must_use]
pub fn wheel() -> ProgressBar {
    let wheel = bar(ProgressBar::new_spinner(), "", "{spinner} {msg} ({elapsed})");
    wheel.enable_steady_tick(TICK);
    wheel
}

fn bar(bar: ProgressBar, doing: &'static str, template: &str) -> ProgressBar {
    // The templates are ours; one that did not parse would cost the looks alone.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_message(doing)
}

//! How far a long command is: a bar on a terminal, and nothing where standard error is none.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::time::Duration;

/// How often what moves by itself moves.
const TICK: Duration = Duration::from_millis(120);

/// A bar over so many octets.
#[must_use]
pub fn octets(doing: &'static str, all: u64) -> ProgressBar {
    const TEMPLATE: &str =
        "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
    bar(ProgressBar::new(all), doing, TEMPLATE)
}

/// A bar over so many messages.
#[must_use]
pub fn messages(doing: &'static str, all: u64) -> ProgressBar {
    bar(ProgressBar::new(all), doing, "{msg} [{wide_bar}] {pos}/{len} messages, {rate}, {eta} left")
}

/// Something that turns for as long as it takes.
#[must_use]
pub fn wheel() -> ProgressBar {
    let wheel = bar(ProgressBar::new_spinner(), "", "{spinner} {msg} ({elapsed})");
    wheel.enable_steady_tick(TICK);
    wheel
}

/// How many a second, as a whole number: what the library says has four decimals.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // A line that nobody can see is no reason to end.
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

/// The bar takes what room the words leave on the line, so that no terminal breaks it.
fn bar(bar: ProgressBar, doing: &'static str, template: &str) -> ProgressBar {
    // The templates are ours; one that did not parse would cost the looks alone.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
    }
    bar.with_message(doing)
}

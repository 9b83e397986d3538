//! Quantities as people write them: "25 MiB", "5m".
//!
//! Only what is clear is taken. `25m` is a size to some and a duration to others, and to those who
//! take it for a size it is two different ones; it is refused with the two ways of saying it.

use super::fault::quoted;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use std::fmt;
use std::time::Duration;

/// The largest size: what a database column holds.
pub const OCTETS_MAX: u64 = i64::MAX as u64;

/// A size that may be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// "off": no limit.
    Off,
    /// So many octets, at least one.
    Octets(u64),
}

impl fmt::Display for Size {
    /// `off`, or the largest unit that says it without a fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size::Octets(octets) = *self else { return f.write_str("off") };
        for (unit, factor) in [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if octets >= factor && octets % factor == 0 {
                return write!(f, "{} {unit}", octets / factor);
            }
        }
        write!(f, "{octets} B")
    }
}

/// Why a text is no quantity, and one that is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wrong}; write {instead}")]
pub struct UnitError {
    /// What is wrong with it.
    pub wrong: String,
    /// A text to write instead.
    pub instead: String,
}

fn refuse<T>(wrong: String, instead: impl Into<String>) -> Result<T, UnitError> {
    Err(UnitError { wrong, instead: instead.into() })
}

/// Reads a size: "25 MiB" (1,048,576 each), "25 MB" (1,000,000 each), a number of octets, or "off".
///
/// # Errors
/// [`UnitError`], which names a text that would be right.
pub fn size(text: &str) -> Result<Size, UnitError> {
    let trimmed = text.trim();
    let shown = quoted(text);
    if trimmed.eq_ignore_ascii_case("off") {
        return Ok(Size::Off);
    }
    if trimmed.starts_with('-') {
        return refuse(format!("{shown} is negative"), "25 MiB");
    }
    let number_ends = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(number_ends);
    let unit = unit.trim_start().to_ascii_lowercase();
    if number.is_empty() || !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return refuse(format!("{shown} is not a size"), "25 MiB");
    }
    match unit.as_str() {
        "" if number.contains('.') => {
            return refuse(format!("{shown} has no unit"), format!("{number} MiB"));
        }
        "" | "b" | "kb" | "mb" | "gb" | "tb" | "kib" | "mib" | "gib" | "tib" => {}
        "k" | "m" | "g" | "t" | "ki" | "mi" | "gi" | "ti" => {
            let prefix = unit.get(..1).unwrap_or_default().to_ascii_uppercase();
            return refuse(
                format!("{shown} leaves open whether a unit is 1,000 or 1,024 of the next smaller"),
                format!("{number} {prefix}iB"),
            );
        }
        _ => return refuse(format!("{shown} has a unit that is not known"), format!("{number} MiB")),
    }
    let Ok(bytesize::ByteSize(octets)) = trimmed.parse() else {
        return refuse(format!("{shown} is not a size"), "25 MiB");
    };
    match octets {
        0 => refuse(format!("{shown} is no size (no limit is \"off\")"), "1 MiB"),
        octets if octets > OCTETS_MAX => refuse(format!("{shown} is too large"), "1 TiB"),
        octets => Ok(Size::Octets(octets)),
    }
}

/// Reads a duration: "5m", "10 min", "1h30m", "500ms". Never negative, never zero.
///
/// # Errors
/// [`UnitError`], which names a text that would be right.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let trimmed = text.trim();
    let shown = quoted(text);
    if trimmed.bytes().all(|b| b.is_ascii_digit()) && !trimmed.is_empty() {
        return refuse(format!("{shown} has no unit (ms, s, m or h)"), format!("{trimmed}s"));
    }
    let Ok(duration) = trimmed.parse::<SignedDuration>() else {
        // Days and longer are no fixed number of seconds to the reader of durations, and no time
        // that this program waits for.
        return refuse(format!("{shown} is not a duration in hours, minutes and seconds"), "5m");
    };
    if duration.is_zero() {
        return refuse(format!("{shown} is no time at all"), "5m");
    }
    Duration::try_from(duration).or_else(|_| refuse(format!("{shown} is negative"), "5m"))
}

/// Reads an age: "30 days", "2 weeks", "12h", or "off". A day has 24 hours. Whole seconds, one at least.
///
/// # Errors
/// [`UnitError`], which names a text that would be right.
pub fn age(text: &str) -> Result<Option<Duration>, UnitError> {
    let trimmed = text.trim();
    let shown = quoted(text);
    if trimmed.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    if trimmed.bytes().all(|b| b.is_ascii_digit()) && !trimmed.is_empty() {
        return refuse(format!("{shown} has no unit (weeks, days, h, m or s)"), format!("{trimmed} days"));
    }
    let span = trimmed.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    match span.ok() {
        Some(age) if age.is_negative() => refuse(format!("{shown} is negative"), "30 days"),
        Some(age) if age.is_zero() => {
            refuse(format!("{shown} is no time at all (never is \"off\")"), "30 days")
        }
        Some(age) if age.subsec_nanos() != 0 => {
            refuse(format!("{shown} is no whole number of seconds"), "30 days")
        }
        Some(age) => Ok(Duration::try_from(age).ok()),
        None => {
            refuse(format!("{shown} is not an age in weeks, days, hours, minutes and seconds"), "30 days")
        }
    }
}

/// An age in the largest unit that says it without a fraction.
#[must_use]
pub fn age_in_words(age: Duration) -> String {
    let seconds = age.as_secs();
    let (number, unit) = [(86_400, " days"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(factor, _)| seconds >= *factor && seconds.is_multiple_of(*factor))
        .map_or((seconds, "s"), |(factor, unit)| (seconds / factor, unit));
    if (number, unit) == (1, " days") { "1 day".to_owned() } else { format!("{number}{unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_clear_units_only() {
        for (text, octets) in [
            ("25 MiB", 26_214_400),
            ("25MiB", 26_214_400),
            ("25mib", 26_214_400),
            (" 25 MB ", 25_000_000),
            ("1.5 GiB", 1_610_612_736),
            ("64 KiB", 65_536),
            ("64kB", 64_000),
            ("1 TiB", 1 << 40),
            ("7 B", 7),
            ("26214400", 26_214_400),
            ("9223372036854775807", OCTETS_MAX),
        ] {
            assert_eq!(size(text), Ok(Size::Octets(octets)), "{text}");
        }
        assert_eq!(size("off"), Ok(Size::Off));
        assert_eq!(size("Off"), Ok(Size::Off));
    }

    #[test]
    fn what_is_no_size_is_refused_with_one_that_is() {
        for (text, instead) in [
            ("", "25 MiB"),
            ("MiB", "25 MiB"),
            ("-1 MiB", "25 MiB"),
            ("25m", "25 MiB"),
            ("25 k", "25 KiB"),
            ("3gi", "3 GiB"),
            ("1.5", "1.5 MiB"),
            ("1. MiB", "25 MiB"),
            ("1.5.5 MiB", "25 MiB"),
            ("25 pints", "25 MiB"),
            ("25 MiB extra", "25 MiB"),
        ] {
            assert_eq!(size(text).map_err(|e| e.instead), Err(instead.to_owned()), "{text}");
        }
        for text in
            ["0", "0 MiB", "0.1 B", "9223372036854775808", "9999999999 TiB", "99999999999999999999999"]
        {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("5m", 300_000),
            ("10 min", 600_000),
            ("10 minutes", 600_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("300s", 300_000),
            ("500ms", 500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_duration_is_neither_bare_nor_negative_nor_nothing() {
        for (text, says) in [
            ("300", "has no unit"),
            ("-5m", "is negative"),
            ("5m ago", "is negative"),
            ("0s", "no time at all"),
            ("", "is not a duration"),
            ("soon", "is not a duration"),
            ("1 month", "is not a duration"),
        ] {
            let error = duration(text).expect_err(text);
            assert!(error.wrong.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn an_age_may_be_told_in_days_and_weeks() {
        const DAY: u64 = 86_400;
        for (text, seconds) in
            [("30 days", 30 * DAY), ("30d", 30 * DAY), ("1 week", 7 * DAY), ("36h", 129_600)]
        {
            assert_eq!(age(text), Ok(Some(Duration::from_secs(seconds))), "{text}");
        }
        assert_eq!(age("Off"), Ok(None));
        for text in ["30", "-1d", "0s", "1 month", "500ms", "1.5s"] {
            assert_eq!(age(text).map_err(|e| e.instead), Err("30 days".to_owned()), "{text}");
        }
    }

    #[test]
    fn an_age_is_shown_as_it_may_be_written() {
        for (text, shown) in
            [("2 weeks", "14 days"), ("1 day", "1 day"), ("36h", "36h"), ("90m", "90m"), ("61s", "61s")]
        {
            let read = age(text).unwrap().unwrap();
            assert_eq!(age_in_words(read), shown);
            assert_eq!(age(shown), Ok(Some(read)), "{shown}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_whole_unit() {
        for (octets, text) in
            [(26_214_400, "25 MiB"), (1 << 30, "1 GiB"), (1000, "1000 B"), (1 << 10, "1 KiB")]
        {
            assert_eq!(Size::Octets(octets).to_string(), text);
            assert_eq!(size(text), Ok(Size::Octets(octets)));
        }
        assert_eq!(Size::Off.to_string(), "off");
    }
}

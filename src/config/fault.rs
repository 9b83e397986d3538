//! What is wrong with a configuration: where, which key, why, and what to write instead.

use super::keys::{Key, Sample};
use super::place::Place;
use std::fmt;

/// One fault of a configuration, for the operator. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the fault is.
    pub place: Place,
    /// The key it is about, as a dotted path; none for errors of syntax.
    pub key: Option<String>,
    /// What is wrong.
    pub wrong: String,
    /// What to write instead.
    pub instead: String,
}

impl Fault {
    /// A fault of the value of `key`, with a sample of what to write.
    #[must_use]
    pub fn of_value(place: &Place, key: &Key, wrong: impl Into<String>, sample: &Sample<'_>) -> Fault {
        let instead = format!("write {}", key.assignment(place, sample));
        Fault::new(place, key, wrong, instead)
    }

    /// A fault of `key`, with advice in words.
    #[must_use]
    pub fn new(place: &Place, key: &Key, wrong: impl Into<String>, instead: impl Into<String>) -> Fault {
        Fault {
            place: place.clone(),
            key: Some(key.path.to_owned()),
            wrong: wrong.into(),
            instead: instead.into(),
        }
    }
}

impl fmt::Display for Fault {
    /// On one line, whatever the operator wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", escaped(&self.place.to_string()))?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", escaped(key))?;
        }
        write!(f, "{}; {}", escaped(&self.wrong), escaped(&self.instead))
    }
}

/// Text of the operator within a sentence: quoted, controls escaped, so that it stays on its line.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

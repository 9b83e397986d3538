//! Options as `name=value`, all of them strings or numbers.

use crate::Outcome;
use std::collections::BTreeMap;

pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Outcome<Options> {
        words
            .map(|word| match word.split_once('=') {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => Err(format!("{word:?} is not NAME=VALUE")),
            })
            .collect::<Outcome<_>>()
            .map(Options)
    }

    pub(crate) fn text(&self, name: &str) -> Outcome<&str> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("{name}= is missing"))
    }

    pub(crate) fn text_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }

    pub(crate) fn number(&self, name: &str, default: usize) -> Outcome<usize> {
        let Some(value) = self.0.get(name) else { return Ok(default) };
        value.parse().map_err(|_| format!("{name}={value} is not a number"))
    }
}

/// The name of the account `number` of a pattern such as `{}u@example.org`.
pub(crate) fn name(pattern: &str, number: usize) -> String {
    pattern.replace("{}", &number.to_string())
}

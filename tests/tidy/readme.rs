//! The table of keys in README.md against the sample configuration, which another test holds to the
//! code.

use std::collections::{BTreeMap, BTreeSet};

/// Keys whose default differs between the two texts, and keys that only one of them has. A row may
/// name several keys (`` `listen.a`, `.b` ``) and whole tables (`` `tls.*` ``).
pub(crate) fn differences(readme: &str, config: &str) -> Vec<String> {
    let sample = defaults(config);
    let mut findings = Vec::new();
    let mut told: BTreeSet<&String> = BTreeSet::new();
    let from = readme.split("\n## Configuration").last().unwrap_or(readme);
    let section = from.split("\n## ").next().unwrap_or(from);
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [keys, default, _] = cells.as_slice() else { continue };
        let default = default.trim_matches('`');
        for key in names(keys) {
            if let Some(table) = key.strip_suffix('*') {
                told.extend(sample.keys().filter(|key| key.starts_with(table)));
                continue;
            }
            let Some((known, value)) = sample.get_key_value(&key) else {
                findings.push(format!("{key}: the sample does not have it"));
                continue;
            };
            told.insert(known);
            if value.to_string() != default {
                findings.push(format!("{key}: {default} in README.md, {value} in the sample"));
            }
        }
    }
    let untold = sample.keys().filter(|key| !told.contains(key));
    findings.extend(untold.map(|key| format!("{key}: README.md does not tell its default")));
    findings
}

/// The keys of the first cell of a row.
fn names(cell: &str) -> Vec<String> {
    let words = cell.split(", ").map(|word| word.trim_matches('`'));
    let mut table = "";
    let mut found = Vec::new();
    for word in words {
        if word.starts_with('.') {
            found.push(format!("{table}{word}"));
        } else {
            table = word.split('.').next().unwrap_or(word);
            found.push(word.to_owned());
        }
    }
    found
}

/// Every key of the sample with its default.
fn defaults(config: &str) -> BTreeMap<String, toml::Value> {
    let parsed: toml::Table = config.parse().expect("the sample is TOML");
    let mut found = BTreeMap::new();
    for (name, value) in parsed {
        match value {
            toml::Value::Table(inner) => {
                found.extend(inner.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            other => drop(found.insert(name, other)),
        }
    }
    found
}

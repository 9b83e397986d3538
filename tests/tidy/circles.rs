//! That no files of the program import each other in a circle. What a file and those in its folder share is
//! one room with two doors and does not count.

use super::files::File;
use super::layers;
use std::collections::{BTreeMap, BTreeSet};

/// Which file names what of which others.
type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Every arrow that is part of a circle, or leads from one circle to another.
pub(crate) fn check(files: &[File]) -> Vec<String> {
    let mut arrows = arrows(files);
    while let Some(end) = loose_end(&arrows) {
        arrows.remove(&end);
        for to in arrows.values_mut() {
            to.remove(&end);
        }
    }
    let told = |(from, to): (&String, &BTreeSet<String>)| -> Vec<String> {
        to.iter().map(|to| format!("{from} -> {to}")).collect()
    };
    arrows.iter().flat_map(told).collect()
}

/// A module that nobody names, or that names nobody.
fn loose_end(arrows: &Arrows) -> Option<String> {
    let named: BTreeSet<&String> = arrows.values().flatten().collect();
    arrows.iter().find(|(from, to)| to.is_empty() || !named.contains(from)).map(|(from, _)| from.clone())
}

fn arrows(files: &[File]) -> Arrows {
    let found: Vec<(String, BTreeSet<String>)> = files.iter().map(layers::imports).collect();
    let modules: BTreeSet<String> = found.iter().map(|(module, _)| module.clone()).collect();
    let targets = |module: &str, paths: BTreeSet<String>| {
        let inner = paths.iter().filter_map(|path| path.strip_prefix("crate::"));
        inner.filter_map(|path| holder(path, &modules)).filter(|to| !is_nested(module, to)).collect()
    };
    found.into_iter().map(|(module, paths)| (module.clone(), targets(&module, paths))).collect()
}

/// The module that a path leads into.
fn holder(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path;
    while !modules.contains(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path.to_owned())
}

/// Whether one is the other, or is in its folder.
fn is_nested(one: &str, other: &str) -> bool {
    layers::within(one, other) || layers::within(other, one)
}

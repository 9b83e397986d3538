//! The links of the documents, as they lie in the tree and in `/usr/share/doc` of the Debian package.

use super::files::File;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Where the package puts what it tells.
const PACKAGED: &str = "usr/share/doc/pillarbox/";

/// Links of `documents` that lead to none of the `files`.
pub(crate) fn broken(documents: &[File], files: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for document in documents {
        for link in links(&document.text) {
            let target = resolved(&document.path, link);
            let is_there = files.contains(&target)
                || files.iter().any(|file| file.starts_with(&format!("{}/", target.trim_end_matches('/'))));
            if !is_there {
                findings.push(format!("{}: {link} leads nowhere", document.path));
            }
        }
    }
    findings
}

/// Files that the package puts under their own path below its folder of documents.
pub(crate) fn packaged(manifest: &str, files: &BTreeSet<String>) -> BTreeSet<String> {
    let manifest: toml::Table = manifest.parse().expect("Cargo.toml is TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("a list of assets");
    let rows = assets.iter().filter_map(|row| Some((row.get(0)?.as_str()?, row.get(1)?.as_str()?)));
    let kept: Vec<&str> = rows
        .filter(|(source, target)| {
            let folder = source.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            *target == format!("{PACKAGED}{folder}")
        })
        .map(|(source, _)| source)
        .collect();
    files.iter().filter(|file| kept.iter().any(|pattern| fits(pattern, file))).cloned().collect()
}

/// One star stands for anything but a slash.
fn fits(pattern: &str, file: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == file };
    let rest = file.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    rest.is_some_and(|rest| !rest.contains('/'))
}

/// The relative targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.map(|target| target.split('#').next().unwrap_or(target)).filter(|target| {
        !target.is_empty() && !target.contains("://") && !target.contains(char::is_whitespace)
    })
}

fn resolved(document: &str, link: &str) -> String {
    let mut path = PathBuf::new();
    for part in Path::new(document).parent().unwrap_or(Path::new("")).join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            other => path.push(other),
        }
    }
    path.to_string_lossy().into_owned()
}

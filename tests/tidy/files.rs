//! The files of the tree, and the checks that look at names and plain text.

use std::path::{Path, PathBuf};

/// One file: its path from the root of the tree, with `/`, and its text.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }
}

/// What `smtp/` and `pop3/` must both have.
const MIRRORED: [&str; 7] = ["codec", "command", "mod", "offer", "reply", "server", "session"];
/// What only one of them needs, each with its reason in docs/architecture.md.
const OWN: [(&str, &[&str]); 2] = [
    ("smtp", &["budget", "client", "intake", "path", "role", "syntax"]),
    ("pop3", &["marks", "pages", "top"]),
];

/// The Rust files below these folders, sorted; a folder that does not exist has none.
pub(crate) fn code(folders: &[&str]) -> Vec<File> {
    ending(folders, &[".rs"])
}

/// The files that may hold marks of RFCs: code and dialogues.
pub(crate) fn marked() -> Vec<File> {
    ending(&["src", "tests"], &[".rs", ".txt"])
}

fn ending(folders: &[&str], ends: &[&str]) -> Vec<File> {
    let all = folders.iter().flat_map(|folder| below(folder));
    let mut found: Vec<File> = all.filter(|file| ends.iter().any(|end| file.path.ends_with(end))).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Every file of the tree, one that is no text as an empty one; without what the build and the program make.
pub(crate) fn everything() -> Vec<File> {
    below("")
}

fn below(folder: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path != root && ["target", ".git", "pillarbox-data"].contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(entries.map(|entry| entry.path()));
        } else if let Ok(text) =
            std::fs::read(&path).map(|octets| String::from_utf8(octets).unwrap_or_default())
        {
            let inner = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            found.push(File { path: inner, text });
        }
    }
    found
}

/// The file, when it does not begin with a comment on its purpose.
pub(crate) fn lacks_purpose(file: &File) -> Option<String> {
    (!file.text.starts_with("//! ")).then(|| file.path.clone())
}

/// Lines that put work off.
pub(crate) fn leftovers(file: &File) -> Vec<String> {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    lines_with(file, |line| words.iter().any(|word| has_word(line, word)))
}

/// Lines that name a folder of the machine on which they were written.
pub(crate) fn machine_paths(file: &File) -> Vec<String> {
    let folders = [["/wo", "rk/"].concat(), ["/tmp", "/wt"].concat(), ["/ro", "ot/"].concat()];
    lines_with(file, |line| folders.iter().any(|folder| line.contains(folder.as_str())))
}

fn lines_with(file: &File, found: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = file.text.lines().enumerate().filter(|(_, line)| found(line));
    lines.map(|(at, line)| format!("{}:{}: {}", file.path, at + 1, line.trim())).collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_inner = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !is_inner(line[..at].chars().next_back()) && !is_inner(line[at + word.len()..].chars().next())
    })
}

/// What one protocol has and the other lacks, and what neither was said to need. A module may be a
/// file or a folder.
pub(crate) fn unmirrored(smtp: &[File], pop3: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for ((protocol, own), files) in OWN.iter().zip([smtp, pop3]) {
        let prefix = format!("src/{protocol}/");
        let names: Vec<&str> = files
            .iter()
            .filter_map(|file| file.path.strip_prefix(&prefix))
            .map(|rest| rest.split(['/', '.']).next().unwrap_or(rest))
            .collect();
        let missing = MIRRORED.iter().filter(|name| !names.contains(name));
        findings.extend(missing.map(|name| format!("{prefix}{name}.rs is missing")));
        let strange = names.iter().filter(|name| !MIRRORED.contains(name) && !own.contains(name));
        findings.extend(strange.map(|name| format!("{prefix}{name}.rs has no counterpart")));
    }
    findings
}

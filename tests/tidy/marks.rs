//! Marks: `// RFC 5321 §4.5.2: …` where the code keeps a rule, and the same reference after
//! `proves:` where a test shows it. From both comes `docs/conformance.md`.

use super::files::File;
use super::text;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A section of an RFC, in the order of the numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Section {
    rfc: u32,
    numbers: Vec<String>,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC {} §{}", self.rfc, self.numbers.join("."))
    }
}

/// All marks and proofs of the tree.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// For each section: the sentence, and where it is kept.
    rules: BTreeSet<(Section, String, String)>,
    /// For each section: the tests that show it.
    proofs: BTreeMap<Section, BTreeSet<String>>,
}

/// Reads the marks of `files`. Those of `src/` are claims; proofs may stand everywhere, in a
/// dialogue as `# proves: …`.
pub(crate) fn collect(files: &[File]) -> Marks {
    let mut marks = Marks::default();
    for file in files.iter().filter(|file| file.path.ends_with(".txt")) {
        for references in file.text.lines().filter_map(|line| line.strip_prefix("# proves: ")) {
            for section in references_at_start(references).0 {
                marks.proofs.entry(section).or_default().insert(format!("`{}`", file.path));
            }
        }
    }
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let functions = text::functions(&text::masked(&file.text));
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some(comment) = comment_of(line) else { continue };
            if let Some(references) = comment.strip_prefix("proves: ") {
                let test = next_function(&functions, at + 1).unwrap_or("?");
                for section in references_at_start(references).0 {
                    let place = format!("`{}` {test}", file.path);
                    marks.proofs.entry(section).or_default().insert(place);
                }
            } else if file.path.starts_with("src/") {
                let (sections, rest) = references_at_start(comment);
                let sentence = sentence(rest, &lines[at + 1..]);
                for section in sections {
                    let place = format!("`{}` {}", file.path, place_of(&functions, &lines, at + 1));
                    marks.rules.insert((section, sentence.clone(), place));
                }
            }
        }
    }
    marks
}

/// The text of a comment in the code; documentation makes no marks.
fn comment_of(line: &str) -> Option<&str> {
    let at = line.find("// ")?;
    let before = &line[..at];
    (before.trim().is_empty() || before.ends_with(' ')).then(|| line[at + 3..].trim())
}

/// The references that a comment begins with, `RFC 5321 §4.5.2, §4.5.3 and RFC 2920 §3.1: …`, and
/// what follows them.
fn references_at_start(comment: &str) -> (Vec<Section>, &str) {
    let mut found = Vec::new();
    let mut rest = comment;
    let mut rfc = None;
    loop {
        if let Some(after) = rest.strip_prefix("RFC ") {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            rfc = after[..digits].parse().ok();
            rest = after[digits..].trim_start();
        }
        let (Some(rfc), Some(after)) = (rfc, rest.strip_prefix('§')) else { return (found, rest) };
        let length = after.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(after.len());
        let name = after[..length].trim_end_matches('.');
        found.push(Section { rfc, numbers: name.split('.').map(str::to_owned).collect() });
        rest = &after[name.len()..];
        for joint in [", ", " and "] {
            if let Some(next) = rest.strip_prefix(joint).filter(|next| next.starts_with(['§', 'R'])) {
                rest = next;
            }
        }
    }
}

/// The first sentence after a reference, over the comment lines that follow.
fn sentence(rest: &str, following: &[&str]) -> String {
    let mut text = rest.trim_start_matches([':', ',', '.']).trim().to_owned();
    for line in following {
        let Some(more) = line.trim().strip_prefix("// ") else { break };
        if more.starts_with("RFC ") || more.starts_with("proves: ") {
            break;
        }
        text = format!("{text} {more}");
    }
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    let sentence = text[..end].trim().replace('|', "\\|");
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().collect::<String>() + letters.as_str())
        .unwrap_or_default()
}

/// The function around a line; where there is none, the item that follows.
fn place_of(functions: &[text::Function], lines: &[&str], line: usize) -> String {
    let around = functions.iter().filter(|f| f.first <= line && line <= f.last);
    if let Some(innermost) = around.max_by_key(|f| f.first) {
        return innermost.name.clone();
    }
    let items = ["fn", "const", "static", "struct", "enum", "trait", "type"];
    let name = lines[line..].iter().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| items.contains(word))?;
        let code = !line.trim_start().starts_with("//");
        code.then(|| words.get(at + 1).copied().unwrap_or_default().to_owned())
    });
    let is_inner = |c: char| c.is_alphanumeric() || c == '_';
    name.map(|name| name.chars().take_while(|c| is_inner(*c)).collect()).unwrap_or_default()
}

fn next_function(functions: &[text::Function], line: usize) -> Option<&str> {
    let around = functions.iter().filter(|f| f.first <= line && line <= f.last).max_by_key(|f| f.first);
    let next = functions.iter().find(|f| f.first > line);
    around.or(next).map(|f| f.name.as_str())
}

impl Marks {
    /// Rules without a proof, and proofs of a rule that nothing claims.
    pub(crate) fn gaps(&self) -> Vec<String> {
        let claimed: BTreeSet<&Section> = self.rules.iter().map(|(section, ..)| section).collect();
        let unproved = self.rules.iter().filter(|(section, ..)| !self.proofs.contains_key(section));
        let unclaimed = self.proofs.iter().filter(|(section, _)| !claimed.contains(section));
        let unproved =
            unproved.map(|(section, _, place)| format!("{section}, in {place}: no test proves it"));
        let unclaimed = unclaimed.map(|(section, places)| {
            let places: Vec<&str> = places.iter().map(String::as_str).collect();
            format!("{section}, shown by {}: no mark in src claims it", places.join(", "))
        });
        unproved.chain(unclaimed).collect()
    }

    /// `docs/conformance.md`.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "# Conformance\n\n\
             Which rule of which RFC is kept where, and which tests show it. Made from the marks in the\n\
             code by `UPDATE=1 cargo test --test tidy`; do not edit it by hand.\n\n\
             | Section | Rule | Kept in | Proved by |\n| --- | --- | --- | --- |\n",
        );
        let mut above = None;
        for (section, sentence, place) in &self.rules {
            let proofs: Vec<&str> =
                self.proofs.get(section).into_iter().flatten().map(String::as_str).collect();
            let proofs = if above == Some(section) { "as above".to_owned() } else { proofs.join("<br>") };
            text.push_str(&format!("| {section} | {sentence} | {place} | {proofs} |\n"));
            above = Some(section);
        }
        text
    }
}

//! `pillarbox.toml(5)`, made of the sample configuration: its comments are the descriptions, its values the
//! defaults. The sample is held to the code by tests.

use crate::cli::output::Failure;
use clap_mangen::roff::{Roff, bold, roman};

const SAMPLE: &str = include_str!("../../../config/pillarbox.toml");
const EXAMPLE: &str = "\
hostname = \"mail.example.org\"
data_dir = \"/var/lib/pillarbox\"

[listen]
smtp        = [\"0.0.0.0:25\"]
submissions = [\"0.0.0.0:465\"]
pop3s       = [\"0.0.0.0:995\"]

[accounts]
mode    = \"closed\"
domains = [\"example.org\"]

[tls]
certificate = \"/etc/pillarbox/cert.pem\"
private_key = \"/etc/pillarbox/key.pem\"";

/// One part of the sample, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A paragraph on the whole file: the first comment, each of its paragraphs.
    Preface(String),
    /// `[name]` and what is said of it.
    Table { name: String, about: String },
    /// A key with its whole path. One without a default is commented out in the sample.
    Key { path: String, default: Option<String>, about: String },
}

/// The page.
///
/// # Errors
/// [`Failure`] when memory cannot be written to, which does not happen.
pub(super) fn page() -> Result<Vec<u8>, Failure> {
    let mut roff = Roff::new();
    roff.control("TH", ["pillarbox.toml", "5", super::RELEASED, super::VERSION, "Pillarbox"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("pillarbox.toml - configuration of the mail server pillarbox")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut in_keys = false;
    for (place, part) in parts(SAMPLE).into_iter().enumerate() {
        if !in_keys && !matches!(part, Part::Preface(_)) {
            in_keys = true;
            roff.control("SH", ["KEYS"]);
        }
        if place > 0 && matches!(part, Part::Preface(_)) {
            roff.control("PP", []);
        }
        tell(&mut roff, part);
    }
    roff.control("SH", ["EXAMPLES"]);
    roff.text([roman("A server for a small domain:")]);
    roff.control("PP", []);
    roff.control("nf", []);
    for line in EXAMPLE.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("pillarbox(1), pillarbox-check(1), pillarbox-tls-dev(1)")]);
    let mut page = Vec::new();
    roff.to_writer(&mut page).map_err(Failure::because)?;
    Ok(page)
}

fn tell(roff: &mut Roff, part: Part) {
    match part {
        Part::Preface(text) => {
            roff.text([roman(text)]);
        }
        Part::Table { name, about } => {
            roff.control("SS", [format!("[{name}]").as_str()]);
            if !about.is_empty() {
                roff.text([roman(about)]);
            }
        }
        Part::Key { path, default, about } => {
            roff.control("TP", []);
            roff.text([bold(path)]);
            roff.text([roman(about)]);
            let default = default.map_or("No default.".to_owned(), |value| format!("Default: {value}"));
            roff.control("br", []);
            roff.text([roman(default)]);
        }
    }
}

fn parts(sample: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut table = String::new();
    let mut is_preface = true;
    for line in sample.lines() {
        let said = line.strip_prefix('#').map(str::trim);
        // Such as `# certificate = "cert.pem"`: a key that has no default.
        let without_default = said.and_then(key).filter(|_| !is_preface);
        if let Some((name, _)) = without_default {
            found.push(Part::Key { path: path(&table, name), default: None, about: take(&mut comment) });
        } else if let Some(said) = said {
            // In the preface an empty comment line ends a paragraph.
            if said.is_empty() && is_preface {
                preface(&mut found, &mut comment);
            } else {
                comment.push(said);
            }
        } else if line.is_empty() {
            if is_preface {
                preface(&mut found, &mut comment);
            }
            is_preface = false;
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut table);
            found.push(Part::Table { name: table.clone(), about: take(&mut comment) });
        } else if let Some((name, value)) = key(line) {
            let default = Some(value.to_owned());
            found.push(Part::Key { path: path(&table, name), default, about: take(&mut comment) });
        }
    }
    found
}

fn preface(found: &mut Vec<Part>, comment: &mut Vec<&str>) {
    if !comment.is_empty() {
        found.push(Part::Preface(take(comment)));
    }
}

/// `name = value`.
fn key(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (is_name && !name.is_empty()).then_some((name, value))
}

fn path(table: &str, name: &str) -> String {
    if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") }
}

fn take(comment: &mut Vec<&str>) -> String {
    std::mem::take(comment).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_key_of_the_sample_is_told_with_its_default() {
        let sample: toml::Table = SAMPLE.parse().expect("the sample is TOML");
        let mut wanted = BTreeSet::new();
        for (name, value) in &sample {
            match value {
                toml::Value::Table(inner) => wanted
                    .extend(inner.iter().map(|(key, value)| (format!("{name}.{key}"), value.to_string()))),
                value => {
                    wanted.insert((name.clone(), value.to_string()));
                }
            }
        }
        let told: BTreeSet<_> = parts(SAMPLE)
            .into_iter()
            .filter_map(|part| match part {
                Part::Key { path, default, about } => {
                    assert!(!about.is_empty(), "{path} is not explained");
                    default.map(|default| (path, default))
                }
                _ => None,
            })
            .collect();
        assert_eq!(told, wanted);
    }

    #[test]
    fn comments_belong_to_what_follows_them() {
        let sample = "# On the\n# whole.\n#\n# More.\n\n# One key.\na = 1\n\n# A table.\n[t]\n# Has\n\
                      # two lines.\n\
                      b = []\n# Has none.\n# c = \"x\"\n";
        let key = |path: &str, default: Option<&str>, about: &str| Part::Key {
            path: path.to_owned(),
            default: default.map(str::to_owned),
            about: about.to_owned(),
        };
        assert_eq!(
            parts(sample),
            [
                Part::Preface("On the whole.".to_owned()),
                Part::Preface("More.".to_owned()),
                key("a", Some("1"), "One key."),
                Part::Table { name: "t".to_owned(), about: "A table.".to_owned() },
                key("t.b", Some("[]"), "Has two lines."),
                key("t.c", None, "Has none."),
            ]
        );
    }
}

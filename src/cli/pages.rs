//! `pillarbox pages`, which is not in the help: manual pages and completions for whoever packages the
//! program, from the same source as the help and the sample configuration.

mod keys;
mod synopsis;

use super::output::{Failure, Output};
use clap::Command;
use clap_complete::{Shell, generate_to};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::path::Path;

/// What stands at the foot of each page.
const VERSION: &str = concat!("pillarbox ", env!("CARGO_PKG_VERSION"));
/// When that version was made, which is there too. The same program makes the same pages on any day.
const RELEASED: &str = "2026-11-24";

/// The shells that get completions.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What stands in the page of the program itself, and in no help text.
const SIGNALS: [(&str, &str); 2] = [
    (
        "SIGTERM, SIGINT",
        "The first lets what is under way finish, for 30 seconds at most; the second ends it at once.",
    ),
    ("SIGHUP", "Loads the certificate and its key again. A broken new one is logged, and the old one stays."),
];
const FILES: [(&str, &str); 3] = [
    (
        "/etc/pillarbox/pillarbox.toml",
        "The configuration, when neither --config nor ./pillarbox.toml is there.",
    ),
    (
        "pillarbox-data/pillarbox.db",
        "The mail: one SQLite database in the data directory. The file ending in -wal belongs to it.",
    ),
    ("pillarbox-data/tls/", "What `pillarbox tls dev` has made."),
];

/// Writes all pages and completions into `dir`, below man1, man5 and completions.
///
/// # Errors
/// [`Failure`] when a file cannot be written.
pub fn write(command: Command, dir: &Path, out: &mut Output) -> Result<(), Failure> {
    // Its page would only say what `--help` is.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    put(dir, "man5/pillarbox.toml.5", &keys::page()?, out)?;
    for_each(&command, &mut |command| {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        put(dir, &format!("man1/{name}.1"), &page(command)?, out)
    })?;
    let completions = dir.join("completions");
    make(&completions)?;
    for shell in SHELLS {
        let path = generate_to(shell, &mut command, "pillarbox", &completions)
            .map_err(|error| cannot_write(&completions, &error))?;
        out.line(path.display())?;
    }
    Ok(())
}

fn for_each(
    command: &Command,
    work: &mut impl FnMut(&Command) -> Result<(), Failure>,
) -> Result<(), Failure> {
    work(command)?;
    command.get_subcommands().try_for_each(|command| for_each(command, work))
}

/// The page of one command.
fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let is_program = command.get_name() == "pillarbox";
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // What stands below the help has sections of its own here.
    let man =
        Man::new(command.clone().after_help(None::<&str>)).manual("Pillarbox").source(VERSION).date(RELEASED);
    let mut page = Vec::new();
    let render = |page: &mut Vec<u8>| -> std::io::Result<()> {
        man.render_title(page)?;
        man.render_name_section(page)?;
        synopsis::section(command).to_writer(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        if command.has_subcommands() {
            man.render_subcommands_section(page)?;
        }
        Notes::of(&notes).sections().to_writer(page)?;
        if is_program {
            table("SIGNALS", &SIGNALS).to_writer(page)?;
            table("FILES", &FILES).to_writer(page)?;
        }
        see_also(command).to_writer(page)
    };
    render(&mut page).map_err(Failure::because)?;
    Ok(page)
}

/// What stands below a help text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notes {
    paragraphs: Vec<String>,
    /// Lines that stay as they are.
    examples: Vec<String>,
}

impl Notes {
    /// Examples are the lines behind their heading that are indented; all others are prose.
    fn of(text: &str) -> Notes {
        let mut notes = Notes::default();
        for paragraph in text.split("\n\n") {
            match paragraph.split_once('\n') {
                Some(("Example:" | "Examples:", lines)) => {
                    notes.examples.extend(lines.lines().map(str::to_owned));
                }
                _ => notes.paragraphs.push(paragraph.replace('\n', " ")),
            }
        }
        notes.paragraphs.retain(|paragraph| !paragraph.is_empty());
        notes
    }

    fn sections(&self) -> Roff {
        let mut roff = Roff::new();
        for (place, paragraph) in self.paragraphs.iter().enumerate() {
            match place {
                0 => roff.control("SH", ["NOTES"]),
                _ => roff.control("PP", []),
            };
            roff.text([roman(paragraph.as_str())]);
        }
        if !self.examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
            roff.control("nf", []);
            for line in &self.examples {
                roff.text([roman(line.as_str())]);
            }
            roff.control("fi", []);
        }
        roff
    }
}

fn table(heading: &str, rows: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*meaning)]);
    }
    roff
}

/// The pages round this one.
fn see_also(command: &Command) -> Roff {
    let own = command.get_display_name().unwrap_or(command.get_name());
    let mut pages: Vec<String> = Vec::new();
    if let Some((above, _)) = own.rsplit_once('-') {
        pages.push(format!("{above}(1)"));
    }
    let below = command.get_subcommands().filter_map(Command::get_display_name);
    pages.extend(below.map(|name| format!("{name}(1)")));
    pages.push("pillarbox.toml(5)".to_owned());
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
    roff
}

fn put(dir: &Path, name: &str, text: &[u8], out: &mut Output) -> Result<(), Failure> {
    let path = dir.join(name);
    make(path.parent().unwrap_or(dir))?;
    fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
    out.line(path.display())
}

fn make(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::because(format_args!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::fmt::rfc2822;

    #[test]
    fn the_date_of_the_pages_is_that_of_the_version() {
        let changelog = include_str!("../../packaging/debian/changelog");
        let (_, date) = changelog.split_once(">  ").expect("who released it, and when");
        let date = rfc2822::parse(date.lines().next().expect("a date")).expect("a date");
        assert_eq!(date.date().to_string(), RELEASED);
        assert!(changelog.starts_with(concat!("pillarbox (", env!("CARGO_PKG_VERSION"), "-")));
    }

    #[test]
    fn examples_are_told_from_prose_wherever_they_stand() {
        let notes = Notes::of("One\ntwo.\n\nThree.\n\nExamples:\n  a\n  b\n\nFour.");
        let paragraphs = ["One two.", "Three.", "Four."].map(str::to_owned).to_vec();
        assert_eq!(notes, Notes { paragraphs, examples: vec!["  a".to_owned(), "  b".to_owned()] });
        assert_eq!(Notes::of(""), Notes::default());
    }
}

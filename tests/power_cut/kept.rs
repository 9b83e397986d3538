//! A life that a cut of the power has shown to be a bad one is kept: nobody can make clients and server
//! meet again as they did, but their log can be cut again in the same places.

use crate::Life;
use crate::disk_kit::log::Log;
use crate::disk_kit::platter::State;
use crate::ledger::{Deletion, Ledger, Mail};
use std::fs;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

/// Names a directory of [`keep`]: its life is cut again, and no other.
pub(crate) const KEPT: &str = "PILLARBOX_POWER_KEPT";

/// A life to cut, and how: where chance begins, and how often.
pub(crate) struct Case {
    pub(crate) life: Life,
    pub(crate) seed: u64,
    pub(crate) cuts: usize,
}

/// What a disk held after the first cut that went wrong.
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) state: State,
}

/// Writes it below the directory of builds. A panic leaves no failure to write.
pub(crate) fn keep(case: &Case, failure: Option<&Failure>) -> TempDir {
    let kept = tempfile::Builder::new().prefix("power-cut-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let kept = kept.expect("a directory");
    let dir = kept.path();
    fs::write(dir.join("log"), &case.life.log.octets).expect("the log");
    fs::write(dir.join("ledger"), to_text(&case.life.ledger)).expect("the ledger");
    fs::write(dir.join("cuts"), format!("{} {}", case.seed, case.cuts)).expect("the cuts");
    if let Some(Failure { what, state }) = failure {
        fs::write(dir.join("what"), what).expect("what went wrong");
        fs::create_dir(dir.join("state")).expect("a directory");
        state.write_below(&dir.join("state"));
    }
    kept
}

/// Leaves it where it is, and says how to look at it again.
pub(crate) fn leave(kept: TempDir) {
    let dir = kept.keep();
    let mut told = String::new();
    if let Ok(what) = fs::read_to_string(dir.join("what")) {
        told = format!("{}/state is the disk after the {what}\n", dir.display());
    }
    let test = "cargo test --locked --test power_cut nothing_acknowledged";
    told += &format!("the same life is cut again by: {KEPT}={} {test}\n", dir.display());
    drop(std::io::stderr().write_all(told.as_bytes()));
}

/// Reads what was kept.
pub(crate) fn read(dir: &Path) -> Case {
    let text = |name: &str| fs::read_to_string(dir.join(name)).expect("a kept life has this file");
    let cuts = text("cuts");
    let (seed, cuts) = cuts.trim().split_once(' ').expect("two numbers");
    let log = Log::parse(fs::read(dir.join("log")).expect("a kept life has a log"));
    Case {
        life: Life { log, ledger: from_text(&text("ledger")) },
        seed: seed.parse().expect("a number"),
        cuts: cuts.parse().expect("a number"),
    }
}

/// A line for each mail and each deletion.
fn to_text(ledger: &Ledger) -> String {
    let mails = ledger.mails.iter().map(|mail| {
        let Mail { name, octets, to, offered, accepted } = mail;
        format!("mail\t{name}\t{octets}\t{offered}\t{accepted}\t{}\n", to.join("\t"))
    });
    let deletions = ledger.deletions.iter().map(|(mailbox, gone)| {
        let Deletion { begun, done } = gone;
        format!("gone\t{mailbox}\t{begun}\t{done}\n")
    });
    mails.chain(deletions).collect()
}

fn from_text(text: &str) -> Ledger {
    let mut ledger = Ledger::default();
    let number = |word: &str| word.parse::<u64>().expect("a number");
    for line in text.lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["mail", name, octets, offered, accepted, ref to @ ..] => {
                ledger.note(name, number(octets) as usize, to, number(offered), number(accepted));
            }
            ["gone", mailbox, begun, done] => {
                ledger.note_deletion(mailbox, number(begun), number(done));
            }
            _ => panic!("not a line of a ledger: {line}"),
        }
    }
    ledger
}

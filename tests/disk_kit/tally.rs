//! What a torture found: one line of the table that `tests/torture` prints.

use std::io::Write;

/// Tries of one fault, and what went wrong in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) tries: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) damaged: usize,
    /// The first few findings, in words.
    pub(crate) findings: Vec<String>,
}

const FINDINGS_MAX: usize = 8;

impl Tally {
    pub(crate) fn lost(&mut self, what: &str) {
        self.lost += 1;
        self.find("lost", what);
    }

    pub(crate) fn doubled(&mut self, what: &str) {
        self.doubled += 1;
        self.find("doubled", what);
    }

    pub(crate) fn damaged(&mut self, what: &str) {
        self.damaged += 1;
        self.find("damaged", what);
    }

    fn find(&mut self, kind: &str, what: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{kind}: {what}"));
        }
    }

    /// All that went wrong.
    pub(crate) fn bad(&self) -> usize {
        self.lost + self.doubled + self.damaged
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.bad() == 0
    }

    /// Writes the line, then fails if anything was found.
    #[track_caller]
    pub(crate) fn conclude(&self, fault: &str) {
        let Tally { tries, lost, doubled, damaged, .. } = self;
        let line = format!("{fault} | {tries} | {lost} | {doubled} | {damaged}\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
        if let Some(path) = std::env::var_os("PILLARBOX_TORTURE_TABLE") {
            let file = std::fs::File::options().append(true).create(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the table can be written");
        }
        assert!(self.is_clean(), "{line}  {}", self.findings.join("\n  "));
        assert!(*tries > 0, "nothing was tried: {fault}");
    }
}

//! What the commands say: results on standard output, reasons and warnings on standard error.

use crate::config::fault::Fault;
use serde::Serialize;
use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write as _};

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// For this reason: one sentence.
    Reason(String),
    /// The configuration is not sound.
    Faults(Vec<Fault>),
    /// The command line asks for what cannot be.
    Usage(Box<clap::Error>),
    /// Whoever read standard output has seen enough, as `head` does. Nothing is wrong.
    ReaderGone,
}

impl Failure {
    /// A failure for a reason that has words.
    pub fn because(reason: impl fmt::Display) -> Failure {
        Failure::Reason(reason.to_string())
    }
}

impl From<io::Error> for Failure {
    /// Of writing to standard output, the only input and output that commands do without other words.
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::ReaderGone
        } else {
            Failure::Reason(format!("cannot write to standard output: {error}"))
        }
    }
}

/// Standard output, buffered.
#[derive(Debug)]
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes standard output.
    #[must_use]
    pub fn new() -> Output {
        Output(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.0, "{text}")?)
    }

    /// Writes octets as they are.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn octets(&mut self, octets: &[u8]) -> Result<(), Failure> {
        Ok(self.0.write_all(octets)?)
    }

    /// What writes to it.
    pub fn writer(&mut self) -> &mut impl io::Write {
        &mut self.0
    }

    /// Writes one item of a JSON list, a line each; `first` begins the list.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn json_item(&mut self, item: &impl Serialize, place: Place) -> Result<(), Failure> {
        let text = serde_json::to_string(item).map_err(Failure::because)?;
        let before = match place {
            Place::First => "[\n  ",
            Place::Later => ",\n  ",
        };
        Ok(write!(self.0, "{before}{text}")?)
    }

    /// Ends a JSON list of `items` items.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn json_end(&mut self, items: usize) -> Result<(), Failure> {
        self.line(if items == 0 { "[]" } else { "\n]" })
    }

    /// Writes a whole JSON list.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn json_list(&mut self, items: &[impl Serialize]) -> Result<(), Failure> {
        for (i, item) in items.iter().enumerate() {
            self.json_item(item, Place::of(i))?;
        }
        self.json_end(items.len())
    }

    /// Hands over what is in the buffer.
    ///
    /// # Errors
    /// [`Failure`] when nobody reads any more.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

/// Where an item stands in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the first.
    First,
    /// Others stand before it.
    Later,
}

impl Place {
    /// The place of the item at `index`, counted from 0.
    #[must_use]
    pub fn of(index: usize) -> Place {
        if index == 0 { Place::First } else { Place::Later }
    }
}

/// Says why something could not be done, or what seems wrong: one line on standard error.
pub fn complain(text: impl fmt::Display) {
    // When nobody hears it, there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "pillarbox: {}", super::text::one_line(&text.to_string()));
}

/// Tells faults of the configuration: one line each on standard error.
pub fn tell_faults(faults: &[Fault]) {
    let mut err = io::stderr().lock();
    for fault in faults {
        let _ = writeln!(err, "{fault}");
    }
}

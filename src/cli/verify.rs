//! `pillarbox verify`: whether a database is whole. Changes nothing, and works beside a running server.

use super::open::runtime;
use super::output::{Failure, Output};
use super::progress;
use super::text::one_line;
use crate::config::Config;
use crate::config::units::Size;
use crate::store::copies::{self, Listener, Summary};
use indicatif::ProgressBar;
use std::path::Path;

/// Tells findings as they come, each a line of standard output.
struct Teller<'o> {
    out: &'o mut Output,
    wheel: ProgressBar,
    /// The first line that nobody took.
    failure: Option<Failure>,
}

impl Listener for Teller<'_> {
    fn step(&mut self, name: &'static str) {
        self.wheel.set_message(format!("checking {name}"));
    }

    fn finding(&mut self, finding: String) {
        let told = self.wheel.suspend(|| self.out.line(one_line(&finding)));
        if let Err(failure) = told {
            self.failure.get_or_insert(failure);
        }
    }
}

/// Checks `file`, or the database of the configuration.
///
/// # Errors
/// [`Failure`] when something is wrong with it, or it cannot be looked at.
pub fn run(config: &Config, file: Option<&Path>, out: &mut Output) -> Result<(), Failure> {
    let file = file.map_or_else(|| copies::database(&config.data_dir), Path::to_owned);
    let summary = runtime()?.block_on(check(&file, out))?;
    out.line(words(&file, &summary))
}

/// Checks a database and tells what is wrong; the summary when nothing is.
pub(super) async fn check(file: &Path, out: &mut Output) -> Result<Summary, Failure> {
    exists(file)?;
    let mut teller = Teller { out, wheel: progress::wheel(), failure: None };
    let summary = copies::verify(file, &mut teller).await.map_err(Failure::because)?;
    teller.wheel.finish_and_clear();
    if let Some(failure) = teller.failure {
        return Err(failure);
    }
    match summary.findings {
        0 => Ok(summary),
        1 => Err(Failure::Reason(format!("{}: 1 thing is wrong", file.display()))),
        many => Err(Failure::Reason(format!("{}: {many} things are wrong", file.display()))),
    }
}

/// SQLite's own words for a file that is not there help nobody.
pub(super) fn exists(file: &Path) -> Result<(), Failure> {
    let said = |error| Failure::Reason(format!("{} cannot be looked at: {error}", file.display()));
    file.metadata().map(drop).map_err(said)
}

/// The summary in one line.
pub(super) fn words(file: &Path, summary: &Summary) -> String {
    let Summary { version, mailboxes, messages, octets, staged, .. } = summary;
    let on_their_way = match staged {
        0 => String::new(),
        many => format!(", {many} more on their way in"),
    };
    let file = file.display();
    let size = Size::Octets(*octets);
    format!(
        "{file} is sound: {messages} messages in {mailboxes} mailboxes, {size}{on_their_way}, \
         schema {version}"
    )
}

//! `pillarbox verify`: whether a database is whole. Changes nothing, and works beside a running server.

use super::open::runtime;
use super::output::{Failure, Output};
use super::part::kind;
use super::progress;
use super::text::{counted, one_line};
use crate::config::Config;
use crate::config::units::Size;
use crate::store::copies::{self, Listener, Summary};
use indicatif::ProgressBar;
use std::path::Path;
use tokio_util::sync::CancellationToken;

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
    exists(&file)?;
    // There is nothing to take away, so that a signal may end it where it is.
    let stop = CancellationToken::new();
    let summary = runtime()?.block_on(check(&Checked { file: &file, name: &file }, out, &stop))?;
    let on_their_way = match summary.staged {
        0 => String::new(),
        many => format!(", {many} more on their way in"),
    };
    let Summary { version, .. } = summary;
    let contents = contents(&summary);
    out.line(format_args!("{} is sound: {contents}{on_their_way}, schema {version}", file.display()))
}

/// A database to check, and the name by which faults of it are told.
pub(super) struct Checked<'f> {
    pub(super) file: &'f Path,
    pub(super) name: &'f Path,
}

impl Checked<'_> {
    /// The same as [`check`], for a command that goes on only with a database that is whole; `left` says what
    /// comes of it otherwise.
    pub(super) async fn or_else(
        &self,
        left: &str,
        out: &mut Output,
        stop: &CancellationToken,
    ) -> Result<Summary, Failure> {
        check(self, out, stop).await.map_err(|failure| match failure {
            Failure::Reason(reason) => Failure::Reason(format!("{reason}; {left}")),
            other => other,
        })
    }
}

/// Checks a database and tells what is wrong; the summary when nothing is.
async fn check(
    checked: &Checked<'_>,
    out: &mut Output,
    stop: &CancellationToken,
) -> Result<Summary, Failure> {
    let mut teller = Teller { out, wheel: progress::wheel(), failure: None };
    let summary = copies::verify(checked.file, &mut teller, stop).await.map_err(Failure::because)?;
    teller.wheel.finish_and_clear();
    if let Some(failure) = teller.failure {
        return Err(failure);
    }
    let name = checked.name.display();
    match summary.findings {
        0 => Ok(summary),
        1 => Err(Failure::Reason(format!("{name}: 1 thing is wrong"))),
        many => Err(Failure::Reason(format!("{name}: {many} things are wrong"))),
    }
}

/// SQLite's own words for a file that is not there, or is none, help nobody.
pub(super) fn exists(file: &Path) -> Result<(), Failure> {
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) => {
            let kind = kind(metadata.file_type());
            Err(Failure::Reason(format!("{} is {kind}, and no database", file.display())))
        }
        Err(error) => Err(Failure::Reason(format!("{} cannot be looked at: {error}", file.display()))),
    }
}

/// How much mail is in a database.
pub(super) fn contents(summary: &Summary) -> String {
    let Summary { mailboxes, messages, octets, .. } = summary;
    let messages = counted(*messages, "message", "messages");
    let mailboxes = counted(*mailboxes, "mailbox", "mailboxes");
    format!("{messages} in {mailboxes} ({})", Size::Octets(*octets))
}

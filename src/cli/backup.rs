//! `pillarbox backup` and `pillarbox restore`: the whole database into one file, and back. Both write, sync
//! and check a `Part` before it has its name.

use super::interrupt::{go_on, heeding, or_interrupted};
use super::open::{database_exists, runtime};
use super::output::{Failure, Output};
use super::part::{Existing, Part, may_be_made, unwritten};
use super::progress;
use super::verify::{Checked, contents, exists};
use crate::config::Config;
use crate::store::OpenError;
use crate::store::copies::{self, Summary};
use crate::store::owner::hand_over;
use crate::store::paths::{COMPANIONS, directory, with_suffix};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// How often the bar is moved on.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much the system should prefer others, such as a server that runs.
const NICENESS: i32 = 10;
/// What comes of a command that did not get to its end.
const NO_BACKUP: &str = "no backup was made";
const NOT_RESTORED: &str = "nothing was restored";

/// Writes the database of the configuration into `file`.
///
/// # Errors
/// [`Failure`]; there is no new file then, unless all that failed was to sync its name.
pub fn back_up(config: &Config, file: &Path, existing: Existing, out: &mut Output) -> Result<(), Failure> {
    let database = copies::database(&config.data_dir);
    if !database_exists(config)? {
        return Err(Failure::Reason(format!("there is nothing to back up: no {}", database.display())));
    }
    if is_of_database(config, file) {
        return Err(Failure::Reason(format!(
            "{} is a name of the database itself; name a file of another directory, or another name",
            file.display()
        )));
    }
    if file.as_os_str() == "-" {
        let reason =
            "a backup is checked before it has its name, and cannot go to standard output; name a file";
        return Err(Failure::because(reason));
    }
    may_be_made(file, existing)?;
    be_nice();
    let summary = runtime()?.block_on(heeding(async |stop| {
        let made = make_backup(&database, file, existing, out, stop).await;
        made.map_err(|failure| or_interrupted(stop, failure, NO_BACKUP))
    }))?;
    let made = contents(&summary);
    out.line(format_args!("backed up {made} to {}, which is whole and synced", file.display()))
}

async fn make_backup(
    database: &Path,
    file: &Path,
    existing: Existing,
    out: &mut Output,
    stop: &CancellationToken,
) -> Result<Summary, Failure> {
    let part = Part::beside(file)?;
    copy(database, &part, "copying", stop).await?;
    part.sync()?;
    let copied = Checked { file: part.path(), name: database };
    let summary = copied.or_else(NO_BACKUP, out, stop).await?;
    go_on(stop)?;
    part.put(existing)?;
    Ok(summary)
}

/// Makes the database of the configuration out of a backup.
///
/// # Errors
/// [`Failure`]; the data directory has no database then, unless all that failed was to sync its name.
pub fn restore(config: &Config, file: &Path, out: &mut Output) -> Result<(), Failure> {
    exists(file)?;
    let summary = runtime()?.block_on(heeding(async |stop| {
        let restored = restore_into(&config.data_dir, file, out, stop).await;
        restored.map_err(|failure| or_interrupted(stop, failure, NOT_RESTORED))
    }))?;
    let database = copies::database(&config.data_dir);
    out.line(format_args!("restored {} to {}", contents(&summary), database.display()))
}

async fn restore_into(
    data_dir: &Path,
    file: &Path,
    out: &mut Output,
    stop: &CancellationToken,
) -> Result<Summary, Failure> {
    let database = copies::database(data_dir);
    let _hold = copies::hold(data_dir).await.map_err(Failure::because)?;
    // A WAL that is left of another database would be played into this one.
    for suffix in [""].into_iter().chain(COMPANIONS) {
        let there = with_suffix(&database, suffix);
        if there.symlink_metadata().is_ok() {
            return Err(Failure::Reason(format!(
                "{} is there already; move it away, with what else begins with pillarbox.db",
                there.display()
            )));
        }
    }
    Checked { file, name: file }.or_else(NOT_RESTORED, out, stop).await?;
    let mut part = Part::beside(&database)?;
    hand_over(part.file(), &database);
    copy(file, &part, "restoring", stop).await?;
    copies::renumber(part.path(), SystemTime::now()).await.map_err(|error| named(error, &part))?;
    part.sync()?;
    let copied = Checked { file: part.path(), name: &database };
    let summary = copied.or_else(NOT_RESTORED, out, stop).await?;
    go_on(stop)?;
    part.put(Existing::Keep)?;
    Ok(summary)
}

/// Whether a file of that name would be the database of the configuration, or one that SQLite reads with it,
/// by whatever way its directory is named.
fn is_of_database(config: &Config, file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let identity = |dir: &Path| dir.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let dir = identity(directory(file));
    name.starts_with("pillarbox.") && dir.is_some() && dir == identity(&config.data_dir)
}

/// A server beside this command goes first.
fn be_nice() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "this command keeps its priority");
    }
}

/// Copies a database into an empty file.
async fn copy(from: &Path, to: &Part, doing: &'static str, stop: &CancellationToken) -> Result<(), Failure> {
    let all = copies::octets(from).await.map_err(Failure::because)?;
    let bar = progress::octets(doing, all);
    let watched = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            bar.set_position(to.path().metadata().map_or(0, |metadata| metadata.len()));
        }
    };
    let copied = tokio::select! {
        copied = copies::copy(from, to.path(), stop) => copied,
        () = watched => Ok(()),
    };
    bar.finish_and_clear();
    copied.map_err(|error| named(error, to))
}

/// What was wrong, told by the name that was asked for.
fn named(error: OpenError, part: &Part) -> Failure {
    match error {
        OpenError::Database { file, reason } if file == part.path() => unwritten(part.target(), reason),
        other => Failure::because(other),
    }
}

//! `pillarbox backup` and `pillarbox restore`: the whole database into one file, and back.
//!
//! Both write under a name of their own beside the one that is asked for, sync, check, and only then rename:
//! whatever happens meanwhile, a file of that name is whole.

use super::open::{database_exists, runtime};
use super::output::{Failure, Output};
use super::progress;
use super::verify::{check, exists, words};
use crate::config::Config;
use crate::store::copies;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// How often the bar is moved on.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much the system should prefer others, such as a server that runs.
const NICENESS: i32 = 10;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the command fails.
    Keep,
    /// The new one takes its place, once it is whole.
    Replace,
}

/// Writes the database of the configuration into `file`.
///
/// # Errors
/// [`Failure`]; there is no new file then.
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
    if existing == Existing::Keep && file.symlink_metadata().is_ok() {
        return Err(taken(file));
    }
    be_nice();
    let part = beside(file)?;
    let summary = runtime()?.block_on(async {
        copy(&database, part.path(), "copying").await?;
        File::open(part.path()).and_then(|file| file.sync_all()).map_err(|e| unwritten(file, &e))?;
        check(part.path(), out).await
    })?;
    put(part, file, existing)?;
    out.line(words(file, &summary))
}

/// Makes the database of the configuration out of a backup.
///
/// # Errors
/// [`Failure`]; the data directory has no database then.
pub fn restore(config: &Config, file: &Path, out: &mut Output) -> Result<(), Failure> {
    let database = copies::database(&config.data_dir);
    exists(file)?;
    let summary = runtime()?.block_on(async {
        let _hold = copies::hold(&config.data_dir).await.map_err(Failure::because)?;
        // A WAL that is left of another database would be played into this one.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let there = with_suffix(&database, suffix);
            if there.symlink_metadata().is_ok() {
                return Err(Failure::Reason(format!(
                    "{} is there already; move it away, with what else begins with pillarbox.db",
                    there.display()
                )));
            }
        }
        check(file, out).await?;
        let part = beside(&database)?;
        copy(file, part.path(), "restoring").await?;
        copies::renumber(part.path(), SystemTime::now()).await.map_err(Failure::because)?;
        File::open(part.path()).and_then(|file| file.sync_all()).map_err(|e| unwritten(&database, &e))?;
        let summary = check(part.path(), out).await?;
        put(part, &database, Existing::Keep)?;
        Ok(summary)
    })?;
    out.line(words(&database, &summary))
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

/// An empty file of mode 0600 in the same directory, which goes unless it is renamed.
pub(super) fn beside(file: &Path) -> Result<NamedTempFile, Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.part-");
    let made = tempfile::Builder::new().prefix(&prefix).tempfile_in(directory(file));
    made.map_err(|error| unwritten(file, &error))
}

async fn copy(from: &Path, to: &Path, doing: &'static str) -> Result<(), Failure> {
    let all = copies::octets(from).await.map_err(Failure::because)?;
    let bar = progress::octets(doing, all);
    let watched = async {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            bar.set_position(to.metadata().map_or(0, |metadata| metadata.len()));
        }
    };
    let copied = tokio::select! {
        copied = copies::copy(from, to) => copied,
        () = watched => Ok(()),
    };
    bar.finish_and_clear();
    copied.map_err(Failure::because)
}

/// Gives a file that is whole and synced its name, so that a crash leaves the one or the other.
pub(super) fn put(part: NamedTempFile, file: &Path, existing: Existing) -> Result<(), Failure> {
    let renamed = match existing {
        Existing::Replace => part.persist(file),
        Existing::Keep => part.persist_noclobber(file),
    };
    if let Err(error) = renamed {
        return Err(match error.error.kind() {
            io::ErrorKind::AlreadyExists => taken(file),
            _ => unwritten(file, &error.error),
        });
    }
    File::open(directory(file)).and_then(|dir| dir.sync_all()).map_err(|error| unwritten(file, &error))
}

fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn taken(file: &Path) -> Failure {
    Failure::Reason(format!("{} is there already; name another file, or use --force", file.display()))
}

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    Failure::Reason(format!("{} cannot be written: {error}", file.display()))
}

//! Opening: what a store needs to know, who may have the data directory, and what can be wrong.

use super::accounts::Mode;
use super::outcome::Error;
use super::owner::{open_or_make, whose};
use super::paths::directory;
use super::retention::Rules;
use super::sqlite::Sqlite;
use crate::mail::address::Domain;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The file that a server locks. Its text is the process id and a note.
const LOCK_FILE: &str = "pillarbox.lock";
/// No more is read of it.
const LOCK_TEXT_MAX: u64 = 4096;
/// How often, and after which pause, a server tries to lock it.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What a store needs to know to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; made with mode 0700 when it does not exist.
    pub data_dir: PathBuf,
    /// Which recipients exist.
    pub mode: Mode,
    /// The domains that are ours; in open mode an empty list means all.
    pub domains: Vec<Domain>,
    /// What separates a tag from a local part; empty for no tags.
    pub tag_separator: String,
    /// Octets for accounts without a quota of their own; `None` for no limit.
    pub default_quota: Option<u64>,
    /// What a server throws away by itself.
    pub retention: Rules,
    /// Who opens it.
    pub tenure: Tenure,
}

/// Who opens a store, and so what it may do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// `serve`: the only one at a time. Takes the lock of the data directory, clears away what a
    /// crash has left, keeps the WAL short.
    Server,
    /// A command such as `account`, beside a server or without one.
    Command,
}

/// Why a store cannot be opened: one sentence for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be made or used.
    #[error(
        "data_dir {dir}: {doing} failed: {error}; {advice}",
        dir = dir.display(),
        advice = advice(dir, error)
    )]
    Directory {
        /// The data directory.
        dir: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the operating system says.
        error: io::Error,
    },
    /// Another server has the data directory.
    #[error("data_dir {dir}: another pillarbox serve uses it ({holder}); stop that one, or give this one \
             another data_dir", dir = dir.display())]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Who, as far as the lock file tells.
        holder: String,
    },
    /// The file is no database, or none of ours.
    #[error("{file} is not a Pillarbox database: {reason}; move it away or name another data_dir",
            file = file.display())]
    NotOurs {
        /// The file.
        file: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// The same of a file that was named for itself.
    #[error("{file} is not a Pillarbox database: {reason}", file = file.display())]
    NoDatabase {
        /// The file.
        file: PathBuf,
        /// What was found instead.
        reason: String,
    },
    /// A newer version has written the database.
    #[error("{file} has schema version {found}, this program knows versions up to {known}; run the newer \
             pillarbox that wrote it, or restore a copy from before the upgrade", file = file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A command is newer than the server that runs.
    #[error("{file} has schema version {found} and a server runs on it; restart the server with this \
             version of pillarbox first, it will bring the database to version {known}",
            file = file.display())]
    ServerIsOlder {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// The SQLite in this program is too old to be trusted.
    #[error(
        "this program was built with SQLite {0}; versions before 3.51.3 can damage a database, build it \
             with the bundled one"
    )]
    OldSqlite(String),
    /// A setting that the promises rest on did not take.
    #[error("{file}: SQLite does not keep to {setting} (it says {got}); the file system may not support it",
            file = file.display())]
    Setting {
        /// The database.
        file: PathBuf,
        /// What was asked for.
        setting: String,
        /// What is.
        got: String,
    },
    /// SQLite refuses.
    #[error("{file}: {reason}", file = file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// The store could not do its first work.
    #[error(transparent)]
    Store(#[from] Error),
}

impl OpenError {
    /// What is to be said of a file that was named for itself and not found in a data directory.
    pub(super) fn of_a_file(self) -> OpenError {
        match self {
            OpenError::NotOurs { file, reason } => OpenError::NoDatabase { file, reason },
            other => other,
        }
    }
}

fn advice(dir: &Path, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return whose(dir);
    }
    "it must be on a file system of this machine that the server may write to".to_owned()
}

/// Opens the engine and takes what the tenure asks for.
pub(super) async fn open(options: &Options) -> Result<(Sqlite, Tenancy), OpenError> {
    let dir = options.data_dir.as_path();
    make(dir)?;
    let tenancy = match options.tenure {
        Tenure::Server => {
            warn_of_others(dir);
            Tenancy::server(dir).await?
        }
        Tenure::Command => Tenancy { lock: Mutex::new(None) },
    };
    // Locking the directory itself keeps a server and a command from making the database together.
    let opening = lock_directory(dir).await?;
    let engine = Sqlite::open(options).await?;
    let synced = File::open(dir).and_then(|d| d.sync_all());
    synced.map_err(|error| trouble(dir, "writing the directory to disk (fsync)", error))?;
    drop(opening);
    Ok((engine, tenancy))
}

/// Takes the lock of a server without being one.
pub(super) async fn hold(dir: &Path) -> Result<Tenancy, OpenError> {
    make(dir)?;
    Tenancy::server(dir).await
}

fn trouble(dir: &Path, doing: &'static str, error: io::Error) -> OpenError {
    OpenError::Directory { dir: dir.to_owned(), doing, error }
}

fn make(dir: &Path) -> Result<(), OpenError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| trouble(dir, "making the directory", error))?;
    if missing.is_empty() {
        // An earlier start may have died between making it and this. Whoever has given us a directory
        // of their own need not let us read the one above.
        let _ = sync_above(dir);
    }
    // The name of a directory is in the one above, and is lost with the power until that is synced.
    missing
        .into_iter()
        .try_for_each(sync_above)
        .map_err(|error| trouble(dir, "writing the directory above to disk (fsync)", error))
}

/// Files of ours are of mode 0600, but whoever may write to the directory can put others in their place.
fn warn_of_others(dir: &Path) {
    const BY_OTHERS: u32 = 0o002;
    if dir.metadata().is_ok_and(|metadata| metadata.mode() & BY_OTHERS != 0) {
        let dir = dir.display();
        tracing::warn!("{dir} can be written to by every user of this machine: chmod 0700 {dir}");
    }
}

fn sync_above(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

async fn lock_directory(dir: &Path) -> Result<File, OpenError> {
    let path = dir.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let directory = File::open(path)?;
        directory.lock()?;
        Ok(directory)
    });
    let locked = locked.await.unwrap_or_else(|e| Err(io::Error::other(e)));
    locked.map_err(|error| trouble(dir, "locking the directory", error))
}

/// The note of the server that has this data directory, `None` when no server runs there.
///
/// # Errors
/// What the operating system says.
pub fn lock_note(dir: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(dir.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file)?)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a server has the lock of this data directory.
pub(super) fn is_served(dir: &Path) -> bool {
    lock_note(dir).is_ok_and(|note| note.is_some())
}

fn holder(lock: &mut File) -> io::Result<String> {
    let mut text = String::new();
    lock.take(LOCK_TEXT_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The hold on a data directory: a server has it alone.
pub(super) struct Tenancy {
    lock: Mutex<Option<File>>,
}

impl Tenancy {
    async fn server(dir: &Path) -> Result<Tenancy, OpenError> {
        let path = dir.join(LOCK_FILE);
        let opened = open_or_make(&path, OpenOptions::new().read(true).write(true));
        let mut file = opened.map_err(|error| trouble(dir, "making its lock file", error))?;
        let mut tries = LOCK_TRIES;
        while let Err(error) = file.try_lock() {
            tries -= 1;
            match error {
                TryLockError::Error(error) => return Err(trouble(dir, "locking its lock file", error)),
                // Whoever asks for the note holds the lock for a moment.
                TryLockError::WouldBlock if tries > 0 => tokio::time::sleep(LOCK_PAUSE).await,
                TryLockError::WouldBlock => {
                    let text = holder(&mut file).unwrap_or_default();
                    let text = text.trim().replace('\n', ", ");
                    let holder = if text.is_empty() { "its process is not known".into() } else { text };
                    return Err(OpenError::InUse { dir: dir.to_owned(), holder });
                }
            }
        }
        let tenancy = Tenancy { lock: Mutex::new(Some(file)) };
        if let Err(error) = tenancy.write_note("") {
            // With a full disk the server must still start: that is how mail gets deleted.
            tracing::warn!(%error, file = %path.display(), "the lock file could not be written");
        }
        Ok(tenancy)
    }

    /// Replaces the text of the lock file: the process id, then `note`.
    pub(super) fn write_note(&self, note: &str) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = lock.as_mut() else { return Ok(()) };
        let mut text = format!("process {}\n", std::process::id());
        if !note.is_empty() {
            text.push_str(note);
            text.push('\n');
        }
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }

    /// Lets the next server in.
    pub(super) fn release(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

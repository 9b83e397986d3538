//! What a store needs to know to open, and why it may refuse to.

use super::accounts::Mode;
use super::outcome::Error;
use super::owner::whose;
use super::retention::Rules;
use crate::mail::address::Domain;
use std::io;
use std::path::{Path, PathBuf};

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

//! What an error of SQLite means: it may pass, the disk is full, or the disk cannot be trusted.

use crate::store::outcome::Error;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What was done when the error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// A change or a checkpoint: after an I/O error what the kernel holds is in doubt.
    Writing,
    /// A question: an I/O error concerns this one answer.
    Reading,
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const NOTADB: i32 = 26;
const IOERR_FSYNC: i32 = IOERR | (4 << 8);
const IOERR_DIR_FSYNC: i32 = IOERR | (5 << 8);
const IOERR_NOMEM: i32 = IOERR | (12 << 8);
const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);
const READONLY: i32 = 8;
const READONLY_DBMOVED: i32 = READONLY | (4 << 8);

/// The extended result code of SQLite, if it was SQLite that refused.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// Whether the file is no database at all.
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == NOTADB)
}

/// Whether the database is damaged where it was asked.
pub(super) fn is_corrupt(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code & 0xff == CORRUPT)
}

/// Whether a file could not be opened, or not for writing: often a matter of permissions.
pub(super) fn is_out_of_reach(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| matches!(code & 0xff, CANTOPEN | READONLY))
}

/// Judges errors; knows the data directory, to ask it whether it is full.
pub(super) struct Faults {
    data_dir: PathBuf,
    /// Why the disk is broken, once it is. Set before the lock is given back under which that was found:
    /// whoever waits for it must not try the same again.
    broken: OnceLock<String>,
}

impl Faults {
    pub(super) fn new(data_dir: &Path) -> Faults {
        Faults { data_dir: data_dir.to_owned(), broken: OnceLock::new() }
    }

    /// # Errors
    /// [`Error::Broken`] once the disk was found to be so.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.broken.get().map_or(Ok(()), |reason| Err(Error::Broken(reason.clone())))
    }

    /// What an error means; the caller still holds the lock of what it was doing.
    pub(super) fn judge(&self, doing: Doing, error: &sqlx::Error) -> Error {
        let verdict = self.verdict(doing, error);
        if let Error::Broken(reason) = &verdict {
            self.broken.get_or_init(|| reason.clone());
        }
        verdict
    }

    fn verdict(&self, doing: Doing, error: &sqlx::Error) -> Error {
        let Some(code) = code(error) else { return without_code(error) };
        match code {
            FULL | IOERR_SHMSIZE => Error::DiskFull,
            // A database that was moved away takes mail that nobody will find.
            READONLY_DBMOVED => Error::Broken(format!("the database was moved or removed: {error}")),
            IOERR_NOMEM => Error::Unavailable(error.to_string()),
            // Whatever the reason: what the kernel still holds of the WAL is in doubt, and the next sync
            // would not tell.
            IOERR_FSYNC | IOERR_DIR_FSYNC if doing == Doing::Writing => Error::Broken(error.to_string()),
            _ => match code & 0xff {
                BUSY | LOCKED => Error::Unavailable("the database is locked by another process".into()),
                // To change a damaged database may damage more of it. Whoever reads elsewhere in it is
                // served, so that nobody can end the server by asking for the one message.
                CORRUPT | NOTADB if doing == Doing::Reading => {
                    tracing::error!(%error, "the database is damaged where it was read: pillarbox verify");
                    Error::Unavailable(error.to_string())
                }
                CORRUPT | NOTADB => Error::Broken(error.to_string()),
                // A quota of the file system comes as a plain write error, a directory without room for
                // another name as one that cannot be opened.
                IOERR | CANTOPEN if doing == Doing::Writing && self.is_full() => Error::DiskFull,
                IOERR if doing == Doing::Writing => Error::Broken(error.to_string()),
                _ => Error::Unavailable(error.to_string()),
            },
        }
    }

    /// Asks the data directory itself, by writing a small file.
    fn is_full(&self) -> bool {
        probe(&self.data_dir).is_err_and(|error| is_full(&error))
    }
}

/// Errors of sqlx itself.
fn without_code(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut => Error::Unavailable("too many questions at once".into()),
        sqlx::Error::PoolClosed => Error::Unavailable("the server is stopping".into()),
        sqlx::Error::WorkerCrashed => Error::Broken("the thread of the database ended".into()),
        other => Error::Unavailable(other.to_string()),
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes, syncs and removes a small file: whether the directory takes data at all.
pub(super) fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join(format!("pillarbox.probe-{}", std::process::id()));
    let written = write_probe(&path);
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

fn write_probe(path: &Path) -> io::Result<()> {
    use std::io::Write as _;
    const PROBE_OCTETS: usize = 16 * 1024;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&[0; PROBE_OCTETS])?;
    file.lock()?;
    file.sync_all()
}

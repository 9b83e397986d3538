//! Who may have the data directory: its making, and the lock of the one server.

use super::options::OpenError;
use super::owner::open_or_make;
use super::paths::directory;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The file that a server locks. Its text is the process id and a note.
const LOCK_FILE: &str = "pillarbox.lock";
/// No more is read of it.
const LOCK_TEXT_MAX: u64 = 4096;
/// How often, and after which pause, a server tries to lock it.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

pub(super) fn trouble(dir: &Path, doing: &'static str, error: io::Error) -> OpenError {
    OpenError::Directory { dir: dir.to_owned(), doing, error }
}

pub(super) fn make(dir: &Path) -> Result<(), OpenError> {
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
pub(super) fn warn_of_others(dir: &Path) {
    const BY_OTHERS: u32 = 0o002;
    if dir.metadata().is_ok_and(|metadata| metadata.mode() & BY_OTHERS != 0) {
        let dir = dir.display();
        tracing::warn!("{dir} can be written to by every user of this machine: chmod 0700 {dir}");
    }
}

fn sync_above(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

pub(super) async fn lock_directory(dir: &Path) -> Result<File, OpenError> {
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
    /// That of a command: none.
    pub(super) fn command() -> Tenancy {
        Tenancy { lock: Mutex::new(None) }
    }

    /// Takes the lock, as only one server at a time can.
    pub(super) async fn server(dir: &Path) -> Result<Tenancy, OpenError> {
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

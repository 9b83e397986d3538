//! A file under way: written under a name of its own beside the one that is asked for, and renamed when it is
//! whole. Whatever happens meanwhile, a file of that name is whole, and nothing else is left.

use super::output::Failure;
use crate::store::paths::{COMPANIONS, directory, with_suffix};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the command fails.
    Keep,
    /// The new one takes its place, once it is whole.
    Replace,
}

/// A file that is not whole yet. Dropped, it is gone, with all that SQLite has put beside it.
#[derive(Debug)]
pub(super) struct Part {
    file: NamedTempFile,
    _companions: Companions,
    target: PathBuf,
}

impl Part {
    /// An empty file of mode 0600 in the directory of `target`.
    pub(super) fn beside(target: &Path) -> Result<Part, Failure> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.part-");
        let made = tempfile::Builder::new().prefix(&prefix).tempfile_in(directory(target));
        let file = made.map_err(|error| unwritten(target, own_words(&error)))?;
        let companions = Companions(file.path().to_owned());
        Ok(Part { file, _companions: companions, target: target.to_owned() })
    }

    /// Where it is until it is whole.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The name that it is to have.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// The file itself, open for writing.
    pub(super) fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Waits until what others have written into it is on the disk too.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let synced = File::open(self.path()).and_then(|file| file.sync_all());
        synced.map_err(|error| unwritten(&self.target, error))
    }

    /// Gives a file that is whole and synced its name, so that a crash leaves the one or the other.
    pub(super) fn put(self, existing: Existing) -> Result<(), Failure> {
        // What has got the name meanwhile is kept as well.
        may_be_made(&self.target, existing)?;
        let target = self.target.clone();
        match existing {
            Existing::Replace => self.rename_over()?,
            Existing::Keep => {
                self.file.persist_noclobber(&target).map_err(|error| match error.error.kind() {
                    io::ErrorKind::AlreadyExists => taken(&target),
                    _ => unwritten(&target, error.error),
                })?;
            }
        }
        File::open(directory(&target)).and_then(|dir| dir.sync_all()).map_err(|e| unwritten(&target, e))
    }

    /// Gives it its name, in place of whatever has it, and leaves it to the caller to sync both.
    pub(super) fn rename_over(self) -> Result<(), Failure> {
        let Part { file, target, .. } = self;
        file.persist(&target).map(drop).map_err(|error| unwritten(&target, error.error))
    }
}

/// The files that SQLite leaves beside a database when it is cut off, or finds no room to end in order.
#[derive(Debug)]
struct Companions(PathBuf);

impl Drop for Companions {
    fn drop(&mut self) {
        for suffix in COMPANIONS {
            // Mostly there is none.
            let _ = std::fs::remove_file(with_suffix(&self.0, suffix));
        }
    }
}

/// Whether a file of that name may be made. Only a file takes the place of a file: a rename onto a device or
/// a pipe would take it away from all who use it, and one onto a symbolic link leaves the file that is meant
/// as old as it was.
pub(super) fn may_be_made(file: &Path, existing: Existing) -> Result<(), Failure> {
    let there = match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unwritten(file, error)),
        Ok(metadata) => metadata.file_type(),
    };
    match existing {
        Existing::Replace if there.is_file() => Ok(()),
        Existing::Keep if there.is_file() => Err(taken(file)),
        _ => Err(Failure::Reason(format!(
            "{} is {}, and nothing takes its place; name a file",
            file.display(),
            kind(there)
        ))),
    }
}

/// What something is that is no regular file.
pub(super) fn kind(of: std::fs::FileType) -> &'static str {
    if of.is_dir() {
        "a directory"
    } else if of.is_symlink() {
        "a symbolic link"
    } else if of.is_fifo() {
        "a pipe"
    } else if of.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn taken(file: &Path) -> Failure {
    Failure::Reason(format!("{} is there already, and stays as it is; name another file", file.display()))
}

/// That a file cannot be written, and why.
pub(super) fn unwritten(file: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Reason(format!("{} cannot be written: {why}", file.display()))
}

/// What the system said, without the hidden name that nobody has asked for.
fn own_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" at path ").map_or(text.as_str(), |(said, _)| said).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_under_way_leaves_nothing_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let part = Part::beside(&dir.path().join("x")).unwrap();
        for suffix in COMPANIONS {
            std::fs::write(with_suffix(part.path(), suffix), "left").unwrap();
        }
        assert_eq!(dir.path().read_dir().unwrap().count(), 4);
        drop(part);
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_told_by_the_name_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("none/x");
        let Failure::Reason(reason) = Part::beside(&file).unwrap_err() else { panic!("a reason") };
        let want = format!("{} cannot be written: No such file or directory (os error 2)", file.display());
        assert_eq!(reason, want);
    }
}

//! What other processes have changed, told by the length of a file: each commit of a command makes it one
//! octet longer, and a server that remembers what it has looked up asks for the length first.
//!
//! SQLite's own count of changes (`PRAGMA data_version`) cannot tell: it grows with every delivery, and
//! asking costs a trip to a thread. The length of an open file costs one system call.

use crate::store::engine::Generation;
use crate::store::owner::open_or_make;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file, beside the database.
const FILE: &str = "pillarbox.changes";

/// The file that counts.
pub(super) struct Changes {
    path: PathBuf,
    /// `None` when it could not be made: nothing is remembered then.
    file: Option<File>,
}

impl Changes {
    /// Opens the file of a data directory, or makes it.
    pub(super) fn open(dir: &Path) -> Changes {
        let path = dir.join(FILE);
        let file = open(&path).inspect_err(|error| {
            tracing::warn!(%error, file = %path.display(), "names are looked up anew for each recipient");
        });
        Changes { file: file.ok(), path }
    }

    /// How many changes there were; `None` when there is no telling: the file is gone.
    pub(super) fn generation(&self) -> Option<Generation> {
        let seen = self.file.as_ref()?.metadata().ok()?;
        (seen.nlink() > 0).then_some(Generation(seen.len()))
    }

    /// Tells every server that something was changed, after the commit and before anybody hears of it.
    pub(super) fn note(&self) {
        // Opened anew: whoever has put another file there since then means that one.
        let noted = open(&self.path).and_then(|mut file| file.write_all(b"\n"));
        if let Err(error) = noted {
            tracing::warn!(%error, file = %self.path.display(),
                "a server that runs hears of this change a second later");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    open_or_make(path, OpenOptions::new().append(true))
}

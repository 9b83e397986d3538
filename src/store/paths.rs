//! Names of files beside others.

use std::path::{Path, PathBuf};

/// What SQLite puts beside a database while it writes to it.
pub const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// The file whose name is that of another with something behind it.
#[must_use]
pub fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory that a file is in, or will be.
#[must_use]
pub fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

//! Opening: the directory, its lock, then the engine.

use super::options::{OpenError, Options, Tenure};
use super::sqlite::Sqlite;
use super::tenancy::{Tenancy, lock_directory, make, trouble, warn_of_others};
use std::fs::File;
use std::path::Path;

/// Opens the engine and takes what the tenure asks for.
pub(super) async fn open(options: &Options) -> Result<(Sqlite, Tenancy), OpenError> {
    let dir = options.data_dir.as_path();
    make(dir)?;
    let tenancy = match options.tenure {
        Tenure::Server => {
            warn_of_others(dir);
            Tenancy::server(dir).await?
        }
        Tenure::Command => Tenancy::command(),
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

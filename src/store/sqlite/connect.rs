//! Connections: how each kind is set up, and that the settings took.

use super::checkpoints::WAL_KEPT_OCTETS;
use super::quick;
use super::refusal::refusal;
use super::setup;
use super::sql::{PAGE_OCTETS, Sql};
use crate::store::options::{OpenError, Tenure};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqlitePool};
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a change waits for another process.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a checkpoint waits for readers. It may hold the writer meanwhile.
pub(super) const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a question waits for a free connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that read. Each is a thread; a read takes microseconds.
const READERS: u32 = 4;
/// The page cache of the writer. Most batches fit; the pages of a larger one go into the WAL before it is
/// whole.
const WRITER_CACHE_KIB: u32 = 4 * 1024;
/// The page cache of the connection for slices, which reads nothing twice.
const SLICES_CACHE_KIB: u32 = 1024;
/// Answers that wait in memory for whoever asked.
const ROWS_WAITING: usize = 16;

/// Versions before this one can damage a database when a checkpoint and a write meet (the WAL reset).
const SQLITE_MIN: [u32; 3] = [3, 51, 3];

fn base(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .foreign_keys(true)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("temp_store", "MEMORY")
        .row_buffer_size(ROWS_WAITING)
        .thread_name(|n| format!("sqlite-{n}"))
        .disable_statement_logging()
}

/// A connection that changes nothing, to a database of ours whose schema is known. It may be that of a server
/// that runs.
pub(super) async fn look_at(file: &Path) -> Result<SqliteConnection, OpenError> {
    let options = base(file).busy_timeout(BUSY_TIMEOUT).read_only(true);
    let mut connection = options.connect().await.map_err(|e| refusal(file, &e))?;
    setup::check_known(&mut connection, file).await?;
    Ok(connection)
}

/// How many steps of SQLite's go by between two looks at whether it is to stop: some ten rows, each of which
/// may be a slice of a message.
const STEPS_A_LOOK: i32 = 100;

/// Lets what a connection is asked for end early, as a failure, once it is to `stop`.
pub(super) async fn heed(
    connection: &mut SqliteConnection,
    file: &Path,
    stop: &CancellationToken,
) -> Result<(), OpenError> {
    let stop = stop.clone();
    let mut handle = connection.lock_handle().await.map_err(|error| refusal(file, &error))?;
    handle.set_progress_handler(STEPS_A_LOOK, move || !stop.is_cancelled());
    Ok(())
}

/// A connection that may write.
pub(super) async fn connect(file: &Path, busy: Duration) -> Sql<SqliteConnection> {
    base(file)
        .busy_timeout(busy)
        // What is set and read back once the schema is known holds for the schema too.
        .synchronous(SqliteSynchronous::Full)
        // Before the first table, or not at all.
        .page_size(u32::try_from(PAGE_OCTETS).unwrap_or(8192))
        .connect()
        .await
}

/// Connects the writer anew, with the same settings.
pub(super) async fn reconnect(file: &Path) -> Result<SqliteConnection, OpenError> {
    let mut connection = connect(file, BUSY_TIMEOUT).await.map_err(|e| refusal(file, &e))?;
    set(&mut connection, file, Role::Writer).await?;
    quick::prepare(&mut connection).await.map_err(|e| refusal(file, &e))?;
    Ok(connection)
}

/// Readers are never closed and opened again: closing the last connection would checkpoint.
pub(super) async fn pool(file: &Path, tenure: Tenure) -> Sql<SqlitePool> {
    let readers = if tenure == Tenure::Server { READERS } else { 1 };
    PoolOptions::new()
        .min_connections(readers)
        .max_connections(readers)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(READER_TIMEOUT)
        .connect_with(base(file).busy_timeout(BUSY_TIMEOUT).read_only(true))
        .await
}

pub(super) async fn check_version(connection: &mut SqliteConnection) -> Sql<Result<(), OpenError>> {
    let row = sqlx::query("SELECT sqlite_version()").fetch_one(connection).await?;
    let version: String = row.try_get(0)?;
    Ok(if is_new_enough(&version) { Ok(()) } else { Err(OpenError::OldSqlite(version)) })
}

fn is_new_enough(version: &str) -> bool {
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    parts.as_slice() >= SQLITE_MIN.as_slice()
}

/// What a connection that writes is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Checkpoints,
    /// Writes what promises nothing until the writer commits what names it.
    Slices,
}

/// FULL: each commit is on the disk before it is answered.
#[cfg(not(any(test, feature = "testing")))]
fn synchronous() -> &'static str {
    "2"
}

#[cfg(any(test, feature = "testing"))]
fn synchronous() -> &'static str {
    crate::store::weakened::synchronous().unwrap_or("2")
}

fn settings(role: Role) -> Vec<(&'static str, String)> {
    let synchronous = match role {
        Role::Writer | Role::Checkpoints => synchronous(),
        Role::Slices => "1",
    };
    let mut settings = vec![
        ("synchronous", synchronous.to_owned()),
        ("wal_autocheckpoint", "0".to_owned()),
        ("journal_size_limit", WAL_KEPT_OCTETS.to_string()),
    ];
    match role {
        Role::Writer => settings.push(("cache_size", format!("-{WRITER_CACHE_KIB}"))),
        Role::Slices => settings.push(("cache_size", format!("-{SLICES_CACHE_KIB}"))),
        Role::Checkpoints => {}
    }
    settings
}

/// Sets what the promises rest on and reads it back: none of it may rest on a default.
pub(super) async fn set(connection: &mut SqliteConnection, file: &Path, role: Role) -> Result<(), OpenError> {
    let busy = if role == Role::Checkpoints { CHECKPOINT_TIMEOUT } else { BUSY_TIMEOUT };
    let mut checked = settings(role);
    checked.push(("journal_mode", "wal".to_owned()));
    for (name, value) in &checked {
        let pragma = AssertSqlSafe(format!("PRAGMA {name} = {value}"));
        sqlx::raw_sql(pragma).execute(&mut *connection).await.map_err(|e| refusal(file, &e))?;
    }
    for (name, value) in [
        ("foreign_keys", "1".to_owned()),
        ("trusted_schema", "0".to_owned()),
        ("cell_size_check", "1".to_owned()),
        ("busy_timeout", busy.as_millis().to_string()),
    ] {
        checked.push((name, value));
    }
    for (setting, wanted) in checked {
        let got = setup::pragma(connection, setting).await.map_err(|e| refusal(file, &e))?;
        if got != wanted {
            let setting = format!("{setting} = {wanted}");
            return Err(OpenError::Setting { file: file.to_owned(), setting, got });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::DATABASE_FILE;

    #[test]
    fn an_sqlite_with_the_wal_reset_fault_is_refused() {
        for good in ["3.51.3", "3.51.10", "3.53.0", "4.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["3.51.2", "3.40.1", "3.51", "", "unknown"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn the_bundled_sqlite_is_new_enough_and_what_does_not_take_is_refused() {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        check_version(&mut connection).await.unwrap().unwrap();
        // A database in memory has no WAL, whatever it is told.
        let refused = set(&mut connection, Path::new("x"), Role::Writer).await.unwrap_err();
        let OpenError::Setting { setting, got, .. } = &refused else { panic!("{refused}") };
        assert_eq!((setting.as_str(), got.as_str()), ("journal_mode = wal", "memory"));
    }

    #[tokio::test]
    async fn every_connection_that_writes_is_durable_at_each_commit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(DATABASE_FILE);
        setup::create(&file).unwrap();
        for role in [Role::Writer, Role::Checkpoints] {
            let mut connection = connect(&file, BUSY_TIMEOUT).await.unwrap();
            if role == Role::Checkpoints {
                sqlx::raw_sql("PRAGMA busy_timeout = 200").execute(&mut connection).await.unwrap();
            }
            set(&mut connection, &file, role).await.unwrap();
            for (name, wanted) in [("synchronous", "2"), ("journal_mode", "wal")] {
                assert_eq!(setup::pragma(&mut connection, name).await.unwrap(), wanted);
            }
        }
        let mut again = reconnect(&file).await.unwrap();
        assert_eq!(setup::pragma(&mut again, "synchronous").await.unwrap(), "2", "after a failed one too");
    }
}

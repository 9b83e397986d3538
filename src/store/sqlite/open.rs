//! Opens the database: the file, the connections, the settings that the promises rest on.

use super::changes::Changes;
use super::fault::{self, Faults};
use super::quick;
use super::setup;
use super::space::{Keeper, Space};
use super::tidy::{self, Checkpoints, WAL_KEPT_OCTETS};
use super::write::Writing;
use super::{DATABASE_FILE, PAGE_OCTETS, READERS, Sqlite};
use crate::mail::ids::Era;
use crate::mail::secret::Secret;
use crate::store::open::{OpenError, Options, Tenure};
use crate::store::owner;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqlitePool};
use std::io;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// How long a change waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a checkpoint waits for readers. It may hold the writer meanwhile.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a question waits for a free connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// The page cache of the writer. Most batches fit; the pages of a larger one go into the WAL before it is
/// whole.
const WRITER_CACHE_KIB: u32 = 4 * 1024;
/// The page cache of the connection for slices, which reads nothing twice.
const SLICES_CACHE_KIB: u32 = 1024;
/// Answers that wait in memory for whoever asked.
const ROWS_WAITING: usize = 16;

/// Versions before this one can damage a database when a checkpoint and a write meet (the WAL reset).
const SQLITE_MIN: [u32; 3] = [3, 51, 3];

impl Sqlite {
    /// Opens or makes the database of a data directory. The caller keeps others from opening it
    /// at the same time.
    pub(in crate::store) async fn open(options: &Options) -> Result<Sqlite, OpenError> {
        let dir = options.data_dir.as_path();
        let file = dir.join(DATABASE_FILE);
        let keeper = if options.tenure == Tenure::Server { Keeper::Yes } else { Keeper::No };
        let room = setup::try_directory(dir, options.tenure)?;
        setup::make_file(dir, &file)?;
        let space = Space::new(dir, &file, keeper);
        if room == setup::Room::None {
            // Even reading needs a little: the shared memory of the WAL.
            space.release();
        }

        let refused = |error: &sqlx::Error| refusal(&file, error);
        let mut writer = connect(&file, BUSY_TIMEOUT).await.map_err(|e| refused(&e))?;
        check_version(&mut writer).await.map_err(|e| refused(&e))??;
        setup::migrate(&mut writer, &file, dir, options.tenure).await?;
        set(&mut writer, &file, Role::Writer).await?;
        quick::prepare(&mut writer).await.map_err(|e| refused(&e))?;
        let (era, login_secret) = meta(&mut writer).await.map_err(|e| refused(&e))?;

        let faults = Faults::new(dir);
        let (mut checkpoints, mut slices) = (None, None);
        if options.tenure == Tenure::Server {
            let mut connection = connect(&file, CHECKPOINT_TIMEOUT).await.map_err(|e| refused(&e))?;
            set(&mut connection, &file, Role::Checkpoints).await?;
            if let Err(broken) = tidy::settle(&mut connection, &faults).await {
                mem::forget((connection, writer));
                return Err(OpenError::Store(broken));
            }
            checkpoints = Some(Checkpoints::new(connection));
            let mut connection = connect(&file, BUSY_TIMEOUT).await.map_err(|e| refused(&e))?;
            set(&mut connection, &file, Role::Slices).await?;
            slices = Some(connection);
        }
        let readers = pool(&file, options.tenure).await.map_err(|e| refused(&e))?;
        let writing = Mutex::new(Writing::new(writer, slices, file.clone(), options.default_quota));
        let changes = Changes::open(dir);
        Ok(Sqlite { era, login_secret, writing, readers, checkpoints, faults, space, changes })
    }
}

/// What belongs to this database for ever.
async fn meta(connection: &mut SqliteConnection) -> Result<(Era, Secret), sqlx::Error> {
    let row = sqlx::query("SELECT era, login_secret FROM meta").fetch_one(connection).await?;
    let era: i64 = row.try_get(0)?;
    Ok((Era(u32::try_from(era).unwrap_or(0)), Secret::new(row.try_get(1)?)))
}

pub(super) fn refusal(file: &Path, error: &sqlx::Error) -> OpenError {
    if fault::is_not_a_database(error) {
        let reason = "it is not an SQLite file, or it is damaged".to_owned();
        return OpenError::NotOurs { file: file.to_owned(), reason };
    }
    if fault::is_out_of_reach(error)
        && let Some(reason) = owner::obstacle(file)
    {
        return OpenError::Database { file: file.to_owned(), reason };
    }
    let said = error.as_database_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
    let reason = if fault::is_corrupt(error) { format!("it is damaged ({said})") } else { said };
    OpenError::Database { file: file.to_owned(), reason }
}

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
async fn connect(file: &Path, busy: Duration) -> Result<SqliteConnection, sqlx::Error> {
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
async fn pool(file: &Path, tenure: Tenure) -> Result<SqlitePool, sqlx::Error> {
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

async fn check_version(connection: &mut SqliteConnection) -> Result<Result<(), OpenError>, sqlx::Error> {
    let row = sqlx::query("SELECT sqlite_version()").fetch_one(connection).await?;
    let version: String = row.try_get(0)?;
    Ok(if is_new_enough(&version) { Ok(()) } else { Err(OpenError::OldSqlite(version)) })
}

fn is_new_enough(version: &str) -> bool {
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    parts.as_slice() >= SQLITE_MIN.as_slice()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
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
    crate::store::testing::synchronous().unwrap_or("2")
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
async fn set(connection: &mut SqliteConnection, file: &Path, role: Role) -> Result<(), OpenError> {
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

/// Makes the database file with mode 0600 whatever the umask; SQLite gives the WAL the same mode and owner.
pub(super) fn create(file: &Path) -> io::Result<()> {
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(made) => {
            owner::hand_over(&made, file);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        create(&file).unwrap();
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

//! Before the first question: the data directory is tried, the schema is made or brought up to date.

use super::fault;
use super::refusal::refusal;
use super::sql::{PAGE_OCTETS, from_db, roll_back};
use crate::store::options::{OpenError, Tenure};
use crate::store::owner;
use crate::store::tenancy::is_served;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The newest schema that this program knows, and each step that leads there.
pub(super) const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../../migrations/sqlite/0001_init.sql")),
    (2, include_str!("../../../migrations/sqlite/0002_scram.sql")),
];
/// Marks the file as ours (`PRAGMA application_id`): "PBox".
const APPLICATION_ID: i64 = 0x5042_6f78;
/// As many as the hash that it is the key of has.
const LOGIN_SECRET_OCTETS: usize = 32;

/// Whether there is room on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    None,
}

/// Tries whether the directory can lock and sync, and says where it should not be.
pub(super) fn try_directory(dir: &Path, tenure: Tenure) -> Result<Room, OpenError> {
    if tenure == Tenure::Command {
        return Ok(Room::Some);
    }
    if let Some(kind) = doubtful_kind(dir) {
        tracing::warn!(
            data_dir = %dir.display(),
            "the data directory is on {kind}: what was acknowledged may not survive a crash there"
        );
    }
    match fault::probe(dir) {
        Ok(()) => Ok(Room::Some),
        // The server must start all the same: that is how mail gets deleted.
        Err(error) if fault::is_full(&error) => {
            tracing::warn!(
                data_dir = %dir.display(),
                "the disk is full: new mail is refused until there is room"
            );
            Ok(Room::None)
        }
        Err(error) => {
            let doing = "writing, locking and syncing a file";
            Err(OpenError::Directory { dir: dir.to_owned(), doing, error })
        }
    }
}

#[cfg(target_os = "linux")]
fn doubtful_kind(dir: &Path) -> Option<&'static str> {
    // From linux/magic.h; smbfs and 9p from their own headers.
    match rustix::fs::statfs(dir).ok()?.f_type as u32 {
        0x6969 => Some("a network file system (NFS)"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("a network file system (SMB)"),
        0x0102_1997 => Some("a shared file system (9p)"),
        0x6573_5546 => Some("a FUSE file system"),
        0x0102_1994 | 0x8584_58f6 => Some("a file system in memory"),
        _ => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn doubtful_kind(_: &Path) -> Option<&'static str> {
    None
}

pub(super) fn make_file(dir: &Path, file: &Path) -> Result<(), OpenError> {
    create(file).map_err(|error| OpenError::Directory {
        dir: dir.to_owned(),
        doing: "making pillarbox.db",
        error,
    })
}

/// The value of a setting, as text.
pub(super) async fn pragma(connection: &mut SqliteConnection, name: &str) -> Result<String, sqlx::Error> {
    let sql = AssertSqlSafe(format!("PRAGMA {name}"));
    let row = sqlx::raw_sql(sql).fetch_one(connection).await?;
    row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()))
}

/// Octets inside the database that are free for new mail.
pub(super) async fn unused_octets(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    Ok(from_db(number(connection, "freelist_count").await?).saturating_mul(PAGE_OCTETS))
}

async fn number(connection: &mut SqliteConnection, name: &str) -> Result<i64, sqlx::Error> {
    let text = pragma(connection, name).await?;
    text.parse().map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// Brings the schema to the newest version. Each step is one transaction; a crash between two leaves
/// a database that the next start goes on with.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    file: &Path,
    dir: &Path,
    tenure: Tenure,
) -> Result<(), OpenError> {
    let refused = |error: sqlx::Error| refusal(file, &error);
    let found = number(connection, "user_version").await.map_err(refused)?;
    let known = known_version();
    check_ours(connection, file, found).await?;
    if found > known {
        return Err(OpenError::Newer { file: file.to_owned(), found, known });
    }
    if found > 0 && found < known && tenure == Tenure::Command && is_served(dir) {
        return Err(OpenError::ServerIsOlder { file: file.to_owned(), found, known });
    }
    for (version, sql) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        if let Err(error) = step(connection, *version, sql).await {
            roll_back(connection).await.map_err(refused)?;
            return Err(refused(error));
        }
    }
    // A new database has the schema of its program, which is no news.
    if found > 0 && found < known {
        let file = file.display();
        tracing::info!(%file, from = found, version = known, "the database has a new schema");
    }
    Ok(())
}

/// Whether the file is one of ours that this program can read.
pub(super) async fn check_known(connection: &mut SqliteConnection, file: &Path) -> Result<(), OpenError> {
    let found = number(connection, "user_version").await.map_err(|e| refusal(file, &e))?;
    check_ours(connection, file, found).await?;
    let known = known_version();
    if found > known {
        return Err(OpenError::Newer { file: file.to_owned(), found, known });
    }
    if found == 0 {
        let reason = "it is empty".to_owned();
        return Err(OpenError::NotOurs { file: file.to_owned(), reason });
    }
    Ok(())
}

/// Whether the file is new or one of ours.
async fn check_ours(connection: &mut SqliteConnection, file: &Path, version: i64) -> Result<(), OpenError> {
    let refused = |e: sqlx::Error| refusal(file, &e);
    let mark = number(connection, "application_id").await.map_err(refused)?;
    let tables = sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(connection).await;
    let tables: i64 = tables.and_then(|row| row.try_get(0)).map_err(refused)?;
    if mark == APPLICATION_ID || (mark == 0 && version == 0 && tables == 0) {
        return Ok(());
    }
    let reason = "it is the database of another program".to_owned();
    Err(OpenError::NotOurs { file: file.to_owned(), reason })
}

async fn step(connection: &mut SqliteConnection, version: i64, sql: &'static str) -> Result<(), sqlx::Error> {
    if version == 1 {
        // On an empty file, where nothing can be lost, and outside of a transaction, as it must be.
        sqlx::raw_sql("PRAGMA journal_mode = wal").execute(&mut *connection).await?;
    }
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    sqlx::raw_sql(sql).execute(&mut *connection).await?;
    if version == 1 {
        let era = getrandom::u32().map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))?;
        let insert = sqlx::query("INSERT INTO meta (one, era) VALUES (1, ?)");
        insert.bind(i64::from(era)).execute(&mut *connection).await?;
        let mark = AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}"));
        sqlx::raw_sql(mark).execute(&mut *connection).await?;
    }
    if version == 2 {
        let mut secret = vec![0; LOGIN_SECRET_OCTETS];
        getrandom::fill(&mut secret).map_err(|e| sqlx::Error::Io(std::io::Error::other(e)))?;
        let keep = sqlx::query("UPDATE meta SET login_secret = ?").bind(secret);
        keep.execute(&mut *connection).await?;
    }
    let stamp = AssertSqlSafe(format!("PRAGMA user_version = {version}"));
    sqlx::raw_sql(stamp).execute(&mut *connection).await?;
    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
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

/// The newest schema that this program knows.
pub(super) fn known_version() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _)| *version)
}

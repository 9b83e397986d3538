//! Opening the database: its file, its schema, its connections.

use super::changes::Changes;
use super::checkpoints::{self, Checkpoints};
use super::connect::{BUSY_TIMEOUT, CHECKPOINT_TIMEOUT, Role, check_version, connect, pool, set};
use super::database::{DATABASE_FILE, Sqlite};
use super::fault::Faults;
use super::quick;
use super::refusal::refusal;
use super::setup;
use super::space::{Keeper, Space};
use super::sql::Sql;
use super::writing::Writing;
use crate::mail::ids::Era;
use crate::mail::secret::Secret;
use crate::store::options::{OpenError, Options, Tenure};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::mem;
use tokio::sync::Mutex;

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
            if let Err(broken) = checkpoints::settle(&mut connection, &faults).await {
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
async fn meta(connection: &mut SqliteConnection) -> Sql<(Era, Secret)> {
    let row = sqlx::query("SELECT era, login_secret FROM meta").fetch_one(connection).await?;
    let era: i64 = row.try_get(0)?;
    Ok((Era(u32::try_from(era).unwrap_or(0)), Secret::new(row.try_get(1)?)))
}

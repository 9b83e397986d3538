//! What an error of SQLite means for whoever opens a database.

use super::fault;
use crate::store::options::OpenError;
use crate::store::owner;
use std::path::Path;

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

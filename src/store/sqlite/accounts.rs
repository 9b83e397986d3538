//! Changes of accounts and aliases, each checked and made inside of the transaction of its batch.

use super::read::{self, ACCOUNT, origin};
use super::remove::expunge;
use super::sql::{Sql, to_db};
use crate::mail::address::MailboxName;
use crate::mail::ids::{MailboxId, MessageId};
use crate::store::accounts::{AccountError, Alias, AliasName, Origin, StoredPassword, Tags, leads_back};
use crate::store::engine::{AccountChange, Targets};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::HashSet;

type Outcome = Sql<Result<u64, AccountError>>;

pub(super) async fn change(connection: &mut SqliteConnection, change: &AccountChange) -> Outcome {
    match change {
        AccountChange::Add { name, password, quota } => add(connection, name, password, *quota).await,
        AccountChange::SetPassword { name, password } => set_password(connection, name, password).await,
        AccountChange::Remove(name) => remove(connection, name).await,
        AccountChange::AddAlias { alias, targets, tag_separator } => {
            add_alias(connection, alias, *targets, tag_separator).await
        }
        AccountChange::RemoveAlias(name) => remove_alias(connection, name).await,
    }
}

async fn mailbox(connection: &mut SqliteConnection, name: &str) -> Sql<Option<(MailboxId, Origin)>> {
    let query = sqlx::query("SELECT id, origin FROM mailbox WHERE name = ?").bind(name.to_owned());
    let row = query.fetch_optional(connection).await?;
    row.map(|row| Ok((MailboxId(row.try_get(0)?), origin(row.try_get(1)?)))).transpose()
}

async fn is_alias(connection: &mut SqliteConnection, name: &str) -> Sql<bool> {
    let query = sqlx::query("SELECT 1 FROM alias WHERE name = ?").bind(name.to_owned());
    Ok(query.fetch_optional(connection).await?.is_some())
}

async fn add(
    connection: &mut SqliteConnection,
    name: &MailboxName,
    password: &StoredPassword,
    quota: Option<u64>,
) -> Outcome {
    const ADD: &str = "\
        INSERT INTO mailbox (name, origin, quota, created) VALUES (?, ?, ?, unixepoch())
            ON CONFLICT (name) DO UPDATE SET origin = excluded.origin, quota = excluded.quota";
    let text = name.to_string();
    if mailbox(connection, &text).await?.is_some_and(|(_, origin)| origin == Origin::Account) {
        return Ok(Err(AccountError::AccountExists(name.clone())));
    }
    if is_alias(connection, &text).await? {
        return Ok(Err(AccountError::AliasExists(text)));
    }
    let add = sqlx::query(ADD).bind(text).bind(ACCOUNT).bind(quota.map(to_db));
    add.execute(&mut *connection).await?;
    set_password(connection, name, password).await
}

/// Hash and keys are of one password, so they are always written together.
async fn set_password(
    connection: &mut SqliteConnection,
    name: &MailboxName,
    password: &StoredPassword,
) -> Outcome {
    const SET: &str = "\
        UPDATE mailbox SET password = ?, scram_salt = ?, scram_iterations = ?, scram_stored_key = ?,
            scram_server_key = ? WHERE name = ? AND origin = ?";
    let scram = password.scram.as_ref();
    let update = sqlx::query(SET)
        .bind(password.phc.clone())
        .bind(scram.map(|keys| keys.salt.to_vec()))
        .bind(scram.map(|keys| keys.iterations))
        .bind(scram.map(|keys| keys.stored_key.to_vec()))
        .bind(scram.map(|keys| keys.server_key.to_vec()))
        .bind(name.to_string())
        .bind(ACCOUNT);
    if update.execute(connection).await?.rows_affected() == 0 {
        return Ok(Err(AccountError::NoAccount(name.clone())));
    }
    Ok(Ok(0))
}

async fn remove(connection: &mut SqliteConnection, name: &MailboxName) -> Outcome {
    let Some((id, _)) = mailbox(connection, &name.to_string()).await? else {
        return Ok(Err(AccountError::NoAccount(name.clone())));
    };
    let messages = sqlx::query("SELECT id FROM message WHERE mailbox = ?").bind(id.0);
    let messages = messages.fetch_all(&mut *connection).await?;
    let ids = messages.iter().map(|row| row.try_get(0).map(MessageId)).collect::<Sql<Vec<_>>>()?;
    let deleted = expunge(connection, id, &ids).await?;
    sqlx::query("DELETE FROM mailbox WHERE id = ?").bind(id.0).execute(connection).await?;
    Ok(Ok(deleted))
}

/// Whether mail for `target` would find an account or an alias, by its whole name or without its tag; the
/// alias that is being added counts, so that one which names itself is called a circle.
async fn leads_on(
    connection: &mut SqliteConnection,
    target: &MailboxName,
    adding: &AliasName,
    tag_separator: &str,
) -> Sql<bool> {
    for name in [Some(target.clone()), target.without_tag(tag_separator)].into_iter().flatten() {
        let text = name.to_string();
        let found = mailbox(connection, &text).await?;
        if found.is_some_and(|(_, origin)| origin == Origin::Account)
            || is_alias(connection, &text).await?
            || *adding == AliasName::Address(name)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The mailboxes whose names have a tag, of those that mail could go to.
async fn tagged(
    connection: &mut SqliteConnection,
    targets: Targets,
    tag_separator: &str,
) -> Sql<HashSet<String>> {
    const TAGGED: &str = "SELECT name FROM mailbox WHERE instr(name, ?) > 0 AND (origin = ? OR ?)";
    if tag_separator.is_empty() {
        return Ok(HashSet::new());
    }
    let select = sqlx::query(TAGGED).bind(tag_separator.to_owned()).bind(ACCOUNT);
    let rows = select.bind(targets == Targets::Any).fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

async fn add_alias(
    connection: &mut SqliteConnection,
    alias: &Alias,
    targets: Targets,
    tag_separator: &str,
) -> Outcome {
    let name = alias.name.to_string();
    if let AliasName::Address(address) = &alias.name
        && mailbox(connection, &name).await?.is_some_and(|(_, origin)| origin == Origin::Account)
    {
        return Ok(Err(AccountError::AccountExists(address.clone())));
    }
    if is_alias(connection, &name).await? {
        return Ok(Err(AccountError::AliasExists(name)));
    }
    if targets == Targets::Existing {
        for target in &alias.targets {
            if !leads_on(connection, target, &alias.name, tag_separator).await? {
                return Ok(Err(AccountError::NoTarget(target.clone())));
            }
        }
    }
    let mailboxes = tagged(connection, targets, tag_separator).await?;
    let tags = Tags { separator: tag_separator, mailboxes };
    if leads_back(&alias.name, &alias.targets, &read::aliases(connection).await?, &tags) {
        return Ok(Err(AccountError::Circle(name)));
    }
    let insert = sqlx::query("INSERT INTO alias (name, created) VALUES (?, unixepoch())").bind(name);
    let id = insert.execute(&mut *connection).await?.last_insert_rowid();
    for (place, target) in (0_i64..).zip(&alias.targets) {
        let insert = sqlx::query("INSERT INTO alias_target (alias, place, target) VALUES (?, ?, ?)");
        insert.bind(id).bind(place).bind(target.to_string()).execute(&mut *connection).await?;
    }
    Ok(Ok(0))
}

async fn remove_alias(connection: &mut SqliteConnection, name: &AliasName) -> Outcome {
    let delete = sqlx::query("DELETE FROM alias WHERE name = ?").bind(name.to_string());
    if delete.execute(connection).await?.rows_affected() == 0 {
        return Ok(Err(AccountError::NoAlias(name.to_string())));
    }
    Ok(Ok(0))
}

//! Questions. Each is one statement on a connection of the pool: no transaction, no waiting for writers.

use super::{chunk_key, from_db, json};
use crate::mail::address::{Address, Domain, MailboxName};
use crate::mail::ids::{BodyId, MailboxId, MessageId};
use crate::mail::listing::Entry;
use crate::store::accounts::{Account, Alias, AliasName, Origin, ScramKeys, StoredPassword};
use crate::store::engine::{Beginning, Found, MailboxFacts, Names};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};

type Sql<T> = Result<T, sqlx::Error>;

/// How an account is written in `mailbox.origin`.
pub(super) const ACCOUNT: i64 = 0;
/// How a mailbox that mail has made is written there.
pub(super) const CAUGHT: i64 = 1;

pub(super) fn origin(code: i64) -> Origin {
    if code == ACCOUNT { Origin::Account } else { Origin::Caught }
}

pub(super) async fn names(pool: &SqlitePool, names: Vec<String>) -> Sql<Names> {
    const SQL: &str = "\
        SELECT name, origin, quota, octets, NULL FROM mailbox
            WHERE name IN (SELECT value FROM json_each(?1))
        UNION ALL
        SELECT * FROM (SELECT alias.name, NULL, NULL, NULL, target FROM alias
            JOIN alias_target ON alias_target.alias = alias.id
            WHERE name IN (SELECT value FROM json_each(?1)) ORDER BY alias.id, place)";
    let mut found = Names::default();
    for row in sqlx::query(SQL).bind(json(&names)?).fetch_all(pool).await? {
        let name: String = row.try_get(0)?;
        match row.try_get::<Option<String>, _>(4)? {
            Some(target) => found.aliases.entry(name).or_default().push(target),
            None => {
                let facts = MailboxFacts {
                    origin: origin(row.try_get(1)?),
                    quota: row.try_get::<Option<i64>, _>(2)?.map(from_db),
                    octets: from_db(row.try_get(3)?),
                };
                found.mailboxes.insert(name, facts);
            }
        }
    }
    Ok(found)
}

pub(super) async fn listing(pool: &SqlitePool, mailbox: &MailboxName) -> Sql<Option<Found>> {
    // The mailbox comes as a row of its own, first, so that an empty one is told from none.
    const SQL: &str = "\
        SELECT id, messages, TRUE FROM mailbox WHERE name = ?1
        UNION ALL
        SELECT * FROM (SELECT id, octets, FALSE FROM message
            WHERE mailbox = (SELECT id FROM mailbox WHERE name = ?1) ORDER BY id)";
    let mut rows = sqlx::query(SQL).bind(mailbox.to_string()).fetch(pool);
    let Some(first) = rows.try_next().await? else { return Ok(None) };
    let id = MailboxId(first.try_get(0)?);
    let expected = usize::try_from(from_db(first.try_get(1)?)).unwrap_or(0);
    let mut entries = Vec::with_capacity(expected);
    while let Some(row) = rows.try_next().await? {
        entries.push(Entry { id: MessageId(row.try_get(0)?), octets: from_db(row.try_get(1)?) });
    }
    Ok(Some((id, entries)))
}

pub(super) async fn beginning(pool: &SqlitePool, message: MessageId) -> Sql<Option<Beginning>> {
    const SQL: &str = "\
        SELECT head, body.id, data, chunks FROM message JOIN body ON body.id = body WHERE message.id = ?";
    let Some(row) = sqlx::query(SQL).bind(message.0).fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Beginning {
        head: Bytes::from(row.try_get::<Vec<u8>, _>(0)?),
        body: BodyId(row.try_get(1)?),
        inline: Bytes::from(row.try_get::<Option<Vec<u8>>, _>(2)?.unwrap_or_default()),
        chunks: row.try_get(3)?,
    }))
}

pub(super) async fn chunk(pool: &SqlitePool, body: BodyId, place: u32) -> Sql<Option<Bytes>> {
    let query = sqlx::query("SELECT data FROM chunk WHERE key = ?").bind(chunk_key(body, place));
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Bytes::from(row.try_get::<Vec<u8>, _>(0)?)))
}

pub(super) async fn password(pool: &SqlitePool, of: &MailboxName) -> Sql<Option<StoredPassword>> {
    const SQL: &str = "\
        SELECT password, scram_salt, scram_iterations, scram_stored_key, scram_server_key FROM mailbox
            WHERE name = ? AND origin = ?";
    let query = sqlx::query(SQL).bind(of.to_string()).bind(ACCOUNT);
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    let Some(phc) = row.try_get(0)? else { return Ok(None) };
    Ok(Some(StoredPassword { phc, scram: scram_keys(&row)? }))
}

fn scram_keys(row: &SqliteRow) -> Sql<Option<ScramKeys>> {
    let key = |column| {
        let octets = row.try_get::<Vec<u8>, _>(column)?;
        let wrong = |octets: Vec<u8>| format!("a key of {} octets, and not of 32", octets.len());
        octets.try_into().map_err(|octets| sqlx::Error::Decode(wrong(octets).into()))
    };
    let Some(salt) = row.try_get::<Option<Vec<u8>>, _>(1)? else { return Ok(None) };
    Ok(Some(ScramKeys {
        salt: salt.into(),
        iterations: row.try_get(2)?,
        stored_key: key(3)?,
        server_key: key(4)?,
    }))
}

pub(super) async fn accounts(pool: &SqlitePool) -> Sql<Vec<Account>> {
    let sql = "SELECT name, origin, quota, messages, octets FROM mailbox ORDER BY name";
    sqlx::query(sql).fetch_all(pool).await?.iter().map(account).collect()
}

fn account(row: &SqliteRow) -> Sql<Account> {
    Ok(Account {
        name: mailbox_name(row.try_get(0)?)?,
        origin: origin(row.try_get(1)?),
        quota: row.try_get::<Option<i64>, _>(2)?.map(from_db),
        messages: from_db(row.try_get(3)?),
        octets: from_db(row.try_get(4)?),
    })
}

/// All aliases; also asked inside of a change.
pub(super) async fn aliases(connection: &mut SqliteConnection) -> Sql<Vec<Alias>> {
    const SQL: &str = "\
        SELECT name, target FROM alias JOIN alias_target ON alias_target.alias = alias.id
            ORDER BY name, place";
    let mut aliases: Vec<Alias> = Vec::new();
    for row in sqlx::query(SQL).fetch_all(connection).await? {
        let name = alias_name(row.try_get(0)?)?;
        let target = mailbox_name(row.try_get(1)?)?;
        match aliases.last_mut().filter(|last| last.name == name) {
            Some(last) => last.targets.push(target),
            None => aliases.push(Alias { name, targets: vec![target] }),
        }
    }
    Ok(aliases)
}

fn mailbox_name(text: &str) -> Sql<MailboxName> {
    let address = Address::parse(text).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
    Ok(address.name())
}

fn alias_name(text: &str) -> Sql<AliasName> {
    match text.strip_prefix('@') {
        Some(domain) => {
            let domain = Domain::parse(domain).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            Ok(AliasName::CatchAll(domain))
        }
        None => mailbox_name(text).map(AliasName::Address),
    }
}

//! Questions. Each is one statement on a connection of the pool: no transaction, no waiting for writers.

use super::sql::{Sql, chunk_key, from_db, json};
use crate::mail::address::{Address, Domain, MailboxName};
use crate::mail::ids::{BodyId, MailboxId, MessageId};
use crate::mail::listing::Entry;
use crate::store::accounts::{Account, Alias, AliasName, Origin, ScramKeys, StoredPassword};
use crate::store::engine::{Beginning, Found, Kept, MailboxFacts, Names};
use bytes::Bytes;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row, SqlitePool};
use std::sync::Arc;

/// Messages of one page of a listing.
const LISTING_PAGE_MESSAGES: u32 = 8192;

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
    // A row costs far more on its way out of SQLite's thread than in it, so a page of messages is one: two
    // lists, since joining the two numbers of each message would cost as much as all the rest.
    // Ids only ever grow: what comes between two pages is behind them.
    const PAGE: &str = "\
        SELECT id, messages, (SELECT group_concat(message) || ' ' || group_concat(octets) FROM
            (SELECT id AS message, octets FROM message WHERE mailbox = mailbox.id AND id > ?2
                ORDER BY id LIMIT ?3))
            FROM mailbox WHERE name = ?1";
    let name = mailbox.to_string();
    let mut found: Option<Found> = None;
    loop {
        let last = found.as_ref().and_then(|(_, entries)| entries.last()).map_or(0, |entry| entry.id.0);
        let page = sqlx::query(PAGE).bind(name.clone()).bind(last).bind(LISTING_PAGE_MESSAGES);
        let Some(row) = page.fetch_optional(pool).await? else { return Ok(found) };
        let id = MailboxId(row.try_get(0)?);
        let expected = usize::try_from(from_db(row.try_get(1)?)).unwrap_or(0);
        let (mailbox, entries) = found.get_or_insert_with(|| (id, Vec::with_capacity(expected)));
        if *mailbox != id {
            // Removed and made anew meanwhile: what was there is gone, and is told so when it is read.
            return Ok(found);
        }
        let before = entries.len();
        push_entries(entries, &row.try_get::<Option<String>, _>(2)?.unwrap_or_default())?;
        if ((entries.len() - before) as u64) < u64::from(LISTING_PAGE_MESSAGES) {
            return Ok(found);
        }
    }
}

fn push_entries(entries: &mut Vec<Entry>, page: &str) -> Sql<()> {
    let wrong = |e: std::num::ParseIntError| sqlx::Error::Decode(Box::new(e));
    let Some((ids, octets)) = page.split_once(' ') else { return Ok(()) };
    for (id, octets) in ids.split(',').zip(octets.split(',')) {
        let id = MessageId(id.parse().map_err(wrong)?);
        entries.push(Entry { id, octets: octets.parse().map_err(wrong)? });
    }
    Ok(())
}

pub(super) async fn beginnings(pool: &SqlitePool, of: Vec<MessageId>) -> Sql<Vec<(MessageId, Beginning)>> {
    const ONE: &str = "\
        SELECT message.id, head, body.id, data, chunks FROM message JOIN body ON body.id = body
            WHERE message.id = ?";
    const SOME: &str = "\
        SELECT message.id, head, body.id, data, chunks FROM json_each(?)
            CROSS JOIN message ON message.id = value CROSS JOIN body ON body.id = body";
    let rows = match of.as_slice() {
        [one] => sqlx::query(ONE).bind(one.0).fetch_all(pool).await?,
        some => {
            let ids: Vec<i64> = some.iter().map(|id| id.0).collect();
            sqlx::query(SOME).bind(json(&ids)?).fetch_all(pool).await?
        }
    };
    rows.into_iter().map(beginning).collect()
}

fn beginning(row: SqliteRow) -> Sql<(MessageId, Beginning)> {
    let row = Arc::new(row);
    let beginning = Beginning {
        head: blob(&row, 1)?,
        body: BodyId(row.try_get(2)?),
        inline: blob(&row, 3)?,
        chunks: row.try_get(4)?,
    };
    Ok((MessageId(row.try_get(0)?), beginning))
}

/// The octets of a column where SQLite has left them: a message is not copied only to have another owner.
/// None of them when it is NULL.
fn blob(row: &Arc<SqliteRow>, column: usize) -> Sql<Bytes> {
    struct Blob {
        row: Arc<SqliteRow>,
        column: usize,
    }
    impl AsRef<[u8]> for Blob {
        fn as_ref(&self) -> &[u8] {
            // It was there before, below.
            self.row.try_get(self.column).unwrap_or_default()
        }
    }
    if row.try_get::<Option<&[u8]>, _>(column)?.is_none_or(<[u8]>::is_empty) {
        return Ok(Bytes::new());
    }
    Ok(Bytes::from_owner(Blob { row: Arc::clone(row), column }))
}

pub(super) async fn chunk(pool: &SqlitePool, body: BodyId, place: u32) -> Sql<Option<Bytes>> {
    let query = sqlx::query("SELECT data FROM chunk WHERE key = ?").bind(chunk_key(body, place));
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    blob(&Arc::new(row), 0).map(Some)
}

pub(super) async fn password(pool: &SqlitePool, of: &MailboxName) -> Sql<Option<Kept>> {
    const SQL: &str = "\
        SELECT password, scram_salt, scram_iterations, scram_stored_key, scram_server_key, id
            FROM mailbox
            WHERE name = ? AND origin = ?";
    let query = sqlx::query(SQL).bind(of.to_string()).bind(ACCOUNT);
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    let Some(phc) = row.try_get(0)? else { return Ok(None) };
    Ok(Some((MailboxId(row.try_get(5)?), StoredPassword { phc, scram: scram_keys(&row)? })))
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

pub(super) fn mailbox_name(text: &str) -> Sql<MailboxName> {
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

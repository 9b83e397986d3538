//! Whether a database is what it should be. Everything is asked of one moment of it; what is held in memory
//! does not grow with it.

use super::connect::{heed, look_at};
use super::copy::close;
use super::fault;
use super::refusal::refusal;
use super::sql::{Sql, from_db};
use crate::store::options::OpenError;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Bodies whose copies are counted in one pass over the messages, 4 octets each.
const BODIES_A_PASS: i64 = 1 << 22;
/// Messages that are asked for at once.
const PAGE_MESSAGES: i64 = 8192;

/// Whoever hears how a check goes.
pub trait Listener {
    /// This part of the check begins.
    fn step(&mut self, name: &'static str);
    /// Something is wrong: one line.
    fn finding(&mut self, finding: String);
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The version of the schema.
    pub version: i64,
    /// Mailboxes.
    pub mailboxes: u64,
    /// Messages in them.
    pub messages: u64,
    /// Octets of these, as POP3 tells them.
    pub octets: u64,
    /// Bodies of messages that are on their way in, or that a crash has left; the next start clears those.
    pub staged: u64,
    /// How many things are wrong.
    pub findings: u64,
}

/// Questions whose every row is a finding, in words.
const QUESTIONS: [(&str, &[&str]); 4] = [
    (
        "mailboxes",
        &["SELECT 'mailbox ' || name || ': it counts ' || messages || ' messages of ' || octets
                || ' octets, and has ' || m || ' of ' || o
            FROM (SELECT name, messages, octets,
                (SELECT count(*) FROM message WHERE mailbox = mailbox.id) AS m,
                (SELECT coalesce(sum(octets), 0) FROM message WHERE mailbox = mailbox.id) AS o FROM mailbox)
            WHERE messages <> m OR octets <> o"],
    ),
    (
        "messages",
        &[
            "SELECT 'message ' || id || ': it has no mailbox' FROM message
                WHERE NOT EXISTS (SELECT 1 FROM mailbox WHERE mailbox.id = message.mailbox)",
            "SELECT 'message ' || message.id || iif(body.id IS NULL, ': it has no body', ': it is told as '
                    || message.octets || ' octets, and has ' || (length(head) + body.octets))
                FROM message LEFT JOIN body ON body.id = message.body
                WHERE body.id IS NULL OR message.octets <> length(head) + body.octets",
            "SELECT 'the ids of ' || many || ' may be given twice: the last one given is noted as '
                    || coalesce(seq, 'none')
                    || ', and there is ' || top
                FROM (SELECT 'message' AS name, 'messages' AS many, max(id) AS top FROM message
                    UNION ALL SELECT 'body', 'bodies', max(id) FROM body
                    UNION ALL SELECT 'mailbox', 'mailboxes', max(id) FROM mailbox) AS had
                LEFT JOIN (SELECT name AS n, seq FROM sqlite_sequence) ON n = name
                WHERE top > coalesce(seq, 0)",
        ],
    ),
    (
        "bodies",
        &[
            "SELECT 'body ' || id || ': it is told as ' || octets || ' octets, and has '
                    || coalesce(length(data), 0) FROM body
                WHERE copies > 0 AND chunks = 0 AND octets <> coalesce(length(data), 0)",
            "SELECT 'body ' || id || ': it is told as ' || octets || ' octets in ' || chunks
                    || ' chunks, and has ' || has || ' in ' || n
                    || iif(first <> 0 OR last <> n - 1, ', with a hole between them', '')
                FROM (SELECT id, octets, chunks, inline, count(key) AS n,
                    coalesce(sum(length(chunk.data)), 0) AS has,
                    coalesce(min(key) - (id << 16), 0) AS first, coalesce(max(key) - (id << 16), -1) AS last
                    FROM (SELECT id, octets, chunks, data IS NOT NULL AS inline FROM body
                        WHERE copies > 0 AND chunks > 0) AS large
                    LEFT JOIN chunk ON key >= id << 16 AND key < (id + 1) << 16 GROUP BY id)
                WHERE inline OR n <> chunks OR has <> octets OR first <> 0 OR last <> n - 1",
            "SELECT 'body ' || id || ': it has chunks that it does not count' FROM body
                WHERE copies > 0 AND chunks = 0 AND
                    EXISTS (SELECT 1 FROM chunk WHERE key >= id << 16 AND key < (id + 1) << 16)",
        ],
    ),
    (
        "chunks",
        &["WITH RECURSIVE owner (id) AS (SELECT min(key) >> 16 FROM chunk
                UNION ALL SELECT (SELECT min(key) >> 16 FROM chunk WHERE key >= (owner.id + 1) << 16)
                    FROM owner WHERE owner.id IS NOT NULL)
            SELECT 'body ' || owner.id || ': it is gone, and its chunks are there' FROM owner
                WHERE owner.id IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM body WHERE body.id = owner.id)"],
    ),
];

pub(in crate::store) async fn verify(
    file: &Path,
    listener: &mut dyn Listener,
    stop: &CancellationToken,
) -> Result<Summary, OpenError> {
    let mut connection = look_at(file).await?;
    heed(&mut connection, file, stop).await?;
    let mut check = Check { connection: &mut connection, listener, findings: 0, is_damage_told: false };
    let summary = check.run().await;
    close(connection).await;
    summary.map_err(|error| refusal(file, &error))
}

struct Check<'c> {
    connection: &'c mut SqliteConnection,
    listener: &'c mut dyn Listener,
    findings: u64,
    is_damage_told: bool,
}

impl Check<'_> {
    async fn run(&mut self) -> Sql<Summary> {
        sqlx::raw_sql("BEGIN").execute(&mut *self.connection).await?;
        self.listener.step("pages");
        self.pages().await?;
        self.listener.step("references");
        self.rows("PRAGMA foreign_key_check", |row| {
            let (table, id): (String, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Some(format!("{table} {}: it refers to a row that is not there", id.unwrap_or_default())))
        })
        .await?;
        for (step, questions) in QUESTIONS {
            self.listener.step(step);
            for question in questions {
                self.rows(question, |row| row.try_get(0).map(Some)).await?;
            }
        }
        self.listener.step("copies");
        let counted = self.copies().await;
        self.or_finding(counted, ()).await?;
        let summary = self.summary().await;
        let summary = self.or_finding(summary, Summary::default()).await?;
        let ended = sqlx::raw_sql("COMMIT").execute(&mut *self.connection).await.map(drop);
        self.or_finding(ended, ()).await?;
        Ok(Summary { findings: self.findings, ..summary })
    }

    /// SQLite says several things in one row, each on a line of its own.
    async fn pages(&mut self) -> Sql<()> {
        let rows = sqlx::query("PRAGMA integrity_check(1000)").fetch_all(&mut *self.connection).await;
        for row in self.or_finding(rows, Vec::new()).await? {
            let said: String = row.try_get(0)?;
            // The first of them tells which database is meant; there is one.
            for line in said.lines().filter(|line| *line != "ok" && !line.starts_with("*** in database")) {
                self.tell(format!("database: {line}"));
            }
        }
        Ok(())
    }

    fn tell(&mut self, finding: String) {
        self.findings += 1;
        self.listener.finding(finding);
    }

    /// Tells what is said of each row of the answer.
    async fn rows(
        &mut self,
        question: &'static str,
        say: impl Fn(&SqliteRow) -> Sql<Option<String>>,
    ) -> Sql<()> {
        let asked = async {
            let mut rows = sqlx::query(question).fetch(&mut *self.connection);
            while let Some(row) = rows.try_next().await? {
                if let Some(finding) = say(&row)? {
                    self.findings += 1;
                    self.listener.finding(finding);
                }
            }
            Ok(())
        };
        let asked = asked.await;
        self.or_finding(asked, ()).await
    }

    /// A database that is damaged may not be able to answer: that is a finding, and no end of the check. It
    /// is one however many questions meet the same damage.
    async fn or_finding<T>(&mut self, answer: Sql<T>, otherwise: T) -> Sql<T> {
        match answer {
            Err(error) if fault::is_corrupt(&error) => {
                if !std::mem::replace(&mut self.is_damage_told, true) {
                    self.tell("database: it is damaged, so that not all of it can be checked".to_owned());
                }
                Ok(otherwise)
            }
            answer => answer,
        }
    }

    /// Counts the messages of each body. There is no index for it, so bodies are counted some millions at a
    /// time, each with one pass over the messages.
    async fn copies(&mut self) -> Sql<()> {
        let row = sqlx::query("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM body");
        let row = row.fetch_one(&mut *self.connection).await?;
        let (mut first, last): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        while first <= last {
            let end = first.saturating_add(BODIES_A_PASS).min(last.saturating_add(1));
            let counts = self.count(first, end).await?;
            self.compare(first, end, &counts).await?;
            // What was deleted long ago leaves wide holes.
            let next = sqlx::query("SELECT min(id) FROM body WHERE id >= ?").bind(end);
            let next: Option<i64> = next.fetch_one(&mut *self.connection).await?.try_get(0)?;
            first = next.unwrap_or(i64::MAX);
        }
        Ok(())
    }

    async fn count(&mut self, first: i64, end: i64) -> Sql<Vec<u32>> {
        // A row costs far more on its way out of SQLite's thread than in it, so a page of messages is one.
        const PAGE: &str = "\
            SELECT max(id), group_concat(body, ' ') FROM
                (SELECT id, body FROM message WHERE id > ? ORDER BY id LIMIT ?)";
        let mut counts = vec![0_u32; usize::try_from(end - first).unwrap_or(0)];
        let mut after = 0_i64;
        loop {
            let page = sqlx::query(PAGE).bind(after).bind(PAGE_MESSAGES);
            let row = page.fetch_one(&mut *self.connection).await?;
            let Some(last) = row.try_get::<Option<i64>, _>(0)? else { return Ok(counts) };
            after = last;
            for body in row.try_get::<String, _>(1)?.split(' ') {
                let body: i64 = body.parse().unwrap_or(i64::MIN);
                let index = usize::try_from(body.saturating_sub(first)).unwrap_or(usize::MAX);
                if let Some(count) = counts.get_mut(index) {
                    *count += 1;
                }
            }
        }
    }

    async fn compare(&mut self, first: i64, end: i64, counts: &[u32]) -> Sql<()> {
        const PAGE: &str = "\
            SELECT max(id), group_concat(id || ' ' || copies, ' ') FROM
                (SELECT id, copies FROM body WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)";
        let mut from = first;
        loop {
            let page = sqlx::query(PAGE).bind(from).bind(end).bind(PAGE_MESSAGES);
            let row = page.fetch_one(&mut *self.connection).await?;
            let Some(last) = row.try_get::<Option<i64>, _>(0)? else { return Ok(()) };
            from = last + 1;
            let text: String = row.try_get(1)?;
            let mut numbers = text.split(' ').map(|number| number.parse::<i64>().unwrap_or(-1));
            while let (Some(id), Some(copies)) = (numbers.next(), numbers.next()) {
                let index = usize::try_from(id - first).unwrap_or(usize::MAX);
                let found = counts.get(index).copied().unwrap_or(0);
                if i64::from(found) != copies {
                    self.tell(format!("body {id}: it counts {copies} messages, and has {found}"));
                }
            }
        }
    }

    async fn summary(&mut self) -> Sql<Summary> {
        const SUMMARY: &str = "\
            SELECT (SELECT user_version FROM pragma_user_version), count(*), coalesce(sum(messages), 0),
                coalesce(sum(octets), 0), (SELECT count(*) FROM body WHERE copies = 0) FROM mailbox";
        let row = sqlx::query(SUMMARY).fetch_one(&mut *self.connection).await?;
        Ok(Summary {
            version: row.try_get(0)?,
            mailboxes: from_db(row.try_get(1)?),
            messages: from_db(row.try_get(2)?),
            octets: from_db(row.try_get(3)?),
            staged: from_db(row.try_get(4)?),
            findings: 0,
        })
    }
}

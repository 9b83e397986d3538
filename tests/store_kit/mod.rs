//! What the tests of the store share: a data directory, mail to put into it, a look behind the scenes.

#![allow(dead_code, reason = "each test program uses its part of it")]

use bytes::Bytes;
use pillarbox::mail::address::{Address, Domain, MailboxName};
use pillarbox::mail::body::Body;
use pillarbox::mail::envelope::{Delivery, MailboxCopy, Overdraft};
use pillarbox::mail::ids::{MessageId, QueueId};
use pillarbox::mail::listing::Listing;
use pillarbox::store::accounts::{Mode, ScramKeys, StoredPassword};
use pillarbox::store::maildrop::Maildrop;
use pillarbox::store::outcome::{Error, Receipt};
use pillarbox::store::reader::MessageReader;
use pillarbox::store::retention::Rules;
use pillarbox::store::testing::{self, Faults};
use pillarbox::store::{Options, Store, Tenure};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::path::Path;
use std::time::Instant;
use tempfile::TempDir;

/// Which engine a store stands on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On {
    Sqlite,
    Faulty,
}

pub(crate) struct Kit {
    pub(crate) dir: TempDir,
    pub(crate) on: On,
    pub(crate) faults: Faults,
    pub(crate) options: Options,
}

impl Kit {
    pub(crate) fn new(on: On) -> Kit {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = options(dir.path());
        Kit { dir, on, faults: Faults::default(), options }
    }

    pub(crate) async fn open(&mut self) -> Store {
        match self.on {
            On::Sqlite => Store::open(self.options.clone()).await.expect("the store opens"),
            On::Faulty => {
                let (store, faults) = testing::open_faulty(self.options.clone()).await.expect("it opens");
                self.faults = faults;
                store
            }
        }
    }

    /// The rows of each table that messages lie in: bodies, chunks, messages.
    pub(crate) async fn rows(&self) -> (i64, i64, i64) {
        let count = |table| number(self.dir.path(), format!("SELECT count(*) FROM {table}"));
        (count("body").await, count("chunk").await, count("message").await)
    }

    /// Fails unless the counters of all mailboxes agree with their messages and no row is an orphan.
    pub(crate) async fn assert_in_order(&self) {
        assert_eq!(disorder(self.dir.path()).await, Vec::<String>::new());
    }
}

/// What does not agree within the database of a data directory.
pub(crate) async fn disorder(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (what, sql) in [
        (
            "a wrong counter",
            "SELECT count(*) FROM mailbox WHERE (octets, messages) != (SELECT \
             coalesce(sum(octets), 0), count(*) FROM message WHERE mailbox = mailbox.id)",
        ),
        (
            "a wrong count of copies",
            "SELECT count(*) FROM body WHERE copies != (SELECT count(*) FROM \
             message WHERE body = body.id)",
        ),
        ("a chunk without a body", "SELECT count(*) FROM chunk WHERE key >> 16 NOT IN (SELECT id FROM body)"),
        ("a message without a body", "SELECT count(*) FROM message WHERE body NOT IN (SELECT id FROM body)"),
        (
            "a wrong size",
            "SELECT count(*) FROM body WHERE octets != coalesce(length(data), (SELECT \
             sum(length(data)) FROM chunk WHERE key >> 16 = body.id), 0)",
        ),
    ] {
        let rows = number(dir, sql.into()).await;
        if rows != 0 {
            found.push(format!("{what}: {rows}"));
        }
    }
    let integrity = text(dir, "PRAGMA integrity_check").await;
    if integrity != "ok" {
        found.push(integrity);
    }
    found
}

/// Bodies that no message has: what a server throws away when it starts.
pub(crate) async fn staged(dir: &Path) -> i64 {
    number(dir, "SELECT count(*) FROM body WHERE copies = 0".into()).await
}

/// Bodies that were ever begun, also those that are gone.
pub(crate) async fn bodies_begun(dir: &Path) -> i64 {
    number(dir, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'body'".into()).await
}

/// For tests that have no runtime.
pub(crate) fn blocking<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// All that is wrong with a data directory on which nobody has anything unfinished: what does not agree in
/// it, and bodies that no message has. A server may be at work on it.
pub(crate) fn blemishes(dir: &Path) -> Vec<String> {
    blocking(async {
        let mut found = disorder(dir).await;
        let left = staged(dir).await;
        if left != 0 {
            found.push(format!("{left} bodies of unfinished messages are left"));
        }
        found
    })
}

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        mode: Mode::Open,
        domains: vec![],
        tag_separator: "+".into(),
        default_quota: None,
        retention: Rules::default(),
        tenure: Tenure::Server,
    }
}

pub(crate) fn closed(options: &Options) -> Options {
    let domains = vec![domain("example.org")];
    Options { mode: Mode::Closed, domains, ..options.clone() }
}

async fn number(dir: &Path, sql: String) -> i64 {
    let mut connection = raw(dir).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(&mut connection).await.expect("an answer").get(0)
}

async fn text(dir: &Path, sql: &'static str) -> String {
    sqlx::raw_sql(sql).fetch_one(&mut raw(dir).await).await.expect("an answer").get(0)
}

/// A connection of the test's own, as another program would have it.
pub(crate) async fn raw(dir: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("pillarbox.db"));
    options.connect().await.expect("a second connection")
}

pub(crate) fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a domain")
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// `ann` is `ann@example.org`.
pub(crate) fn name(text: &str) -> MailboxName {
    if text.contains('@') { address(text).name() } else { address(&format!("{text}@example.org")).name() }
}

/// A password without SCRAM keys.
pub(crate) fn kept(phc: &str) -> StoredPassword {
    StoredPassword { phc: phc.to_owned(), scram: None }
}

pub(crate) fn scram_keys() -> ScramKeys {
    let salt = [0, 1, 254, 255].as_slice().into();
    ScramKeys { salt, iterations: 4096, stored_key: [1; 32], server_key: [2; 32] }
}

pub(crate) const HEAD: &str = "Return-Path: <sender@example.net>\r\nReceived: from there by here\r\n";

pub(crate) fn copy_for(mailbox: &str) -> MailboxCopy {
    let mailbox = name(mailbox);
    let head = format!("Delivered-To: {mailbox}\r\n{HEAD}").into();
    MailboxCopy { mailbox, head }
}

pub(crate) fn delivery(to: &[&str], body: Body) -> Delivery {
    let bits = getrandom::u64().expect("random bits");
    let copies = to.iter().map(|to| copy_for(to)).collect();
    Delivery { queue_id: QueueId::from_random(bits), body, copies, overdraft: Overdraft::Refused }
}

pub(crate) fn memory(octets: impl Into<Vec<u8>>) -> Body {
    Body::Memory(vec![Bytes::from(octets.into())])
}

/// Octets that show any mistake in their order.
pub(crate) fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

pub(crate) async fn send(store: &Store, to: &[&str], body: impl Into<Vec<u8>>) -> Result<Receipt, Error> {
    store.deliver(delivery(to, memory(body))).await
}

pub(crate) async fn login(store: &Store, mailbox: &str) -> (Maildrop, Listing) {
    try_login(store, mailbox, Instant::now()).await.expect("the mailbox is free")
}

pub(crate) async fn try_login(store: &Store, mailbox: &str, now: Instant) -> Option<(Maildrop, Listing)> {
    testing::open_maildrop(store, &name(mailbox), now).await.expect("the mailbox can be read")
}

pub(crate) async fn octets(mut reader: MessageReader) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(slice) = reader.next().await? {
        all.extend_from_slice(&slice);
    }
    Ok(all)
}

/// The bodies in a mailbox, oldest first, each told by its octets below the head.
pub(crate) async fn bodies(store: &Store, mailbox: &str) -> Vec<Vec<u8>> {
    let Some(listing) = store.peek(&name(mailbox)).await.expect("it can be read") else { return vec![] };
    let head = copy_for(mailbox).head;
    let mut bodies = Vec::new();
    for entry in listing.entries() {
        let all = octets(store.peek_message(entry)).await.expect("a message can be read");
        assert_eq!(all.len() as u64, entry.octets, "the listing tells the size");
        bodies.push(all.strip_prefix(&head[..]).expect("the head comes first").to_vec());
    }
    bodies
}

pub(crate) fn ids(listing: &Listing) -> Vec<MessageId> {
    listing.entries().iter().map(|entry| entry.id).collect()
}

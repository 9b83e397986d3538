//! Opening a store: who may, on what, and what is said when it cannot be.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use pillarbox::mail::envelope::{Delivery, Overdraft};
use pillarbox::store::accounts::{Alias, AliasName, StoredPassword};
use pillarbox::store::outcome::{Error, Route};
use pillarbox::store::tenancy::lock_note;
use pillarbox::store::{OpenError, Options, Store, Tenure};
use sqlx::Row;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store_kit::*;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

async fn refusal(options: &Options) -> OpenError {
    Store::open(options.clone()).await.expect_err("it must not open")
}

#[tokio::test]
async fn nobody_else_can_read_the_data_whatever_the_umask() {
    let mut kit = Kit::new(On::Sqlite);
    kit.options.data_dir = kit.dir.path().join("deep").join("inside");
    let before = rustix::process::umask(rustix::fs::Mode::empty());
    let store = kit.open().await;
    send(&store, &["ann"], "secret").await.unwrap();
    rustix::process::umask(before);
    assert_eq!(mode(&kit.options.data_dir), 0o700);
    for entry in std::fs::read_dir(&kit.options.data_dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    store.close().await;
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_who_is_there() {
    let mut kit = Kit::new(On::Sqlite);
    assert_eq!(lock_note(kit.dir.path()).unwrap(), None);
    let store = kit.open().await;
    store.write_lock_note("ready smtp=127.0.0.1:1025").unwrap();
    let error = refusal(&kit.options).await;
    assert!(matches!(error, OpenError::InUse { .. }));
    let text = error.to_string();
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains("smtp=127.0.0.1:1025"), "{text}");
    let note = lock_note(kit.dir.path()).unwrap().unwrap();
    assert_eq!(note.lines().nth(1), Some("ready smtp=127.0.0.1:1025"));
    store.close().await;
    assert_eq!(lock_note(kit.dir.path()).unwrap(), None);
    kit.open().await.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let mut kit = Kit::new(On::Sqlite);
    kit.open().await.close().await;
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut raw(kit.dir.path()).await).await.unwrap();
    for tenure in [Tenure::Server, Tenure::Command] {
        kit.options.tenure = tenure;
        let error = refusal(&kit.options).await;
        assert!(matches!(error, OpenError::Newer { found: 99, known: 2, .. }), "{error}");
        assert!(error.to_string().contains("schema version 99"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let kit = Kit::new(On::Sqlite);
    let file = kit.dir.path().join("pillarbox.db");
    let text = "this is my diary\n".repeat(1000);
    std::fs::write(&file, &text).unwrap();
    let error = refusal(&kit.options).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let kit = Kit::new(On::Sqlite);
    let file = kit.dir.path().join("pillarbox.db");
    drop(std::fs::File::create(&file).unwrap());
    sqlx::raw_sql("CREATE TABLE diary (day TEXT)").execute(&mut raw(kit.dir.path()).await).await.unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = refusal(&kit.options).await;
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_data_dir_that_cannot_be_one_is_named() {
    let mut kit = Kit::new(On::Sqlite);
    let file = kit.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below"), "/proc/pillarbox".into()] {
        kit.options.data_dir = dir.clone();
        let text = refusal(&kit.options).await.to_string();
        assert!(text.contains(&dir.display().to_string()) && !text.contains('\n'), "{text}");
    }
}

#[tokio::test]
async fn a_server_and_commands_that_start_together_make_one_database() {
    for _ in 0..5 {
        let kit = Kit::new(On::Sqlite);
        let open = |tenure| {
            let options = Options { tenure, ..kit.options.clone() };
            tokio::spawn(async move { Store::open(options).await })
        };
        let tenures = [Tenure::Command, Tenure::Server, Tenure::Command, Tenure::Command];
        let opening: Vec<_> = tenures.into_iter().map(open).collect();
        for (nth, opened) in opening.into_iter().enumerate() {
            let store = opened.await.unwrap().expect("each opens");
            store.add_account(&name(&format!("user{nth}")), &kept("hash"), None).await.unwrap();
            store.close().await;
        }
        let store = Store::open(kit.options.clone()).await.unwrap();
        assert_eq!(store.accounts().await.unwrap().len(), 4);
        store.close().await;
    }
}

#[tokio::test]
async fn the_database_is_made_as_it_was_decided() {
    let mut kit = Kit::new(On::Sqlite);
    kit.open().await.close().await;
    let mut connection = raw(kit.dir.path()).await;
    for (sql, wanted) in
        [("PRAGMA page_size", 8192), ("PRAGMA user_version", 2), ("PRAGMA application_id", 0x5042_6f78)]
    {
        let got: i64 = sqlx::raw_sql(sql).fetch_one(&mut connection).await.unwrap().get(0);
        assert_eq!(got, wanted, "{sql}");
    }
    let mode: String = sqlx::raw_sql("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap().get(0);
    assert_eq!(mode, "wal");
    assert!(
        !kit.dir.path().join("pillarbox.db-wal").exists()
            || std::fs::metadata(kit.dir.path().join("pillarbox.db-wal")).unwrap().len() == 0,
        "a clean end leaves no WAL"
    );
}

#[tokio::test]
async fn the_wal_stays_short_under_a_load_without_a_pause() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    let mut largest = 0;
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..600 {
        if sends.len() >= 16 {
            sends.join_next().await.unwrap().unwrap();
            let wal = std::fs::metadata(kit.dir.path().join("pillarbox.db-wal")).map_or(0, |m| m.len());
            largest = largest.max(wal);
        }
        let (store, mail) = (store.clone(), delivery(&["ann"], memory(pattern(250_000))));
        sends.spawn(async move { store.deliver(mail).await.unwrap() });
    }
    sends.join_all().await;
    assert!(largest < 64 * 1024 * 1024, "150 MB went through a WAL of {largest} octets");
    store.close().await;
    kit.assert_in_order().await;
}

/// A database as version 0.1 left it: an account with mail, and an alias.
async fn make_version_1(dir: &Path) {
    drop(std::fs::File::create(dir.join("pillarbox.db")).unwrap());
    let mut connection = raw(dir).await;
    for sql in [
        "PRAGMA page_size = 8192; PRAGMA journal_mode = wal",
        include_str!("../migrations/sqlite/0001_init.sql"),
        "INSERT INTO meta (one, era) VALUES (1, 4711);
         INSERT INTO mailbox (name, origin, password, octets, messages, created)
            VALUES ('ann@example.org', 0, 'old hash', 13, 1, 1);
         INSERT INTO alias (id, name, created) VALUES (1, 'team@example.org', 1);
         INSERT INTO alias_target (alias, place, target) VALUES (1, 0, 'ann@example.org');
         INSERT INTO body (id, copies, octets, chunks, data) VALUES (7, 1, 7, 0, x'68656c6c6f0d0a');
         INSERT INTO message (id, mailbox, body, octets, received, head)
            VALUES (9, 1, 7, 13, 1, x'413a20620d0a')",
        "PRAGMA application_id = 1346531192; PRAGMA user_version = 1",
    ] {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_of_version_1_is_brought_up_to_date_and_keeps_its_mail() {
    let mut kit = Kit::new(On::Sqlite);
    make_version_1(kit.dir.path()).await;
    kit.options = closed(&kit.options);
    let store = kit.open().await;
    let ann = name("ann");
    assert_eq!(store.stored_password(&ann).await.unwrap(), Some(kept("old hash")), "no SCRAM keys yet");
    let (maildrop, listing) = login(&store, "ann").await;
    let entry = &listing.entries()[0];
    assert_eq!(listing.uid(entry).to_string(), "00001267.9", "its unique-id is the same");
    assert_eq!(octets(maildrop.read(entry)).await.unwrap(), b"A: b\r\nhello\r\n");
    assert_eq!(store.aliases().await.unwrap().len(), 1);
    let secret = store.login_secret().clone();
    assert_eq!(secret.expose().len(), 32);
    assert_ne!(secret.expose(), [0; 32]);
    let scram = StoredPassword { scram: Some(scram_keys()), ..kept("new hash") };
    store.set_password(&ann, &scram).await.unwrap();
    store.close().await;
    let store = kit.open().await;
    assert_eq!(store.stored_password(&ann).await.unwrap(), Some(scram));
    assert_eq!(store.login_secret().expose(), secret.expose(), "it stays for ever");
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn nobody_is_told_of_an_account_as_it_was_before_the_last_command() {
    let kit = Kit::new(On::Sqlite);
    let options = closed(&kit.options);
    let server = Store::open(options.clone()).await.unwrap();
    let command = Store::open(Options { tenure: Tenure::Command, ..options }).await.unwrap();
    let (ann, team) = (address("ann@example.org"), address("team@example.org"));
    let to_ann = || server.route(&ann, None);
    let to_team = || server.route(&team, None);
    let to = |who: &str| Route::Mailboxes(vec![name(who)]);
    let alias = Alias { name: AliasName::Address(name("team")), targets: vec![name("ann")] };
    command.add_account(&name("bob"), &kept("hash"), None).await.unwrap();
    for _ in 0..20 {
        assert_eq!(to_ann().await.unwrap(), Route::Unknown);
        command.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
        assert_eq!(to_ann().await.unwrap(), to("ann"));
        assert_eq!(to_team().await.unwrap(), Route::Unknown);
        command.add_alias(&alias).await.unwrap();
        assert_eq!(to_team().await.unwrap(), to("ann"));
        command.remove_alias(&alias.name).await.unwrap();
        command.add_alias(&Alias { targets: vec![name("bob")], ..alias.clone() }).await.unwrap();
        assert_eq!(to_team().await.unwrap(), to("bob"));
        command.remove_alias(&alias.name).await.unwrap();
        command.remove_account(&name("ann")).await.unwrap();
    }
    command.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_quota_counts_with_every_message_whatever_is_remembered() {
    let kit = Kit::new(On::Sqlite);
    let store = Store::open(closed(&kit.options)).await.unwrap();
    store.add_account(&name("ann"), &kept("hash"), Some(1000)).await.unwrap();
    let ann = address("ann@example.org");
    let to_ann = || store.route(&ann, Some(500));
    for _ in 0..3 {
        assert_eq!(to_ann().await.unwrap(), Route::Mailboxes(vec![name("ann")]));
    }
    send(&store, &["ann"], "x".repeat(600)).await.unwrap();
    assert_eq!(to_ann().await.unwrap(), Route::Full(name("ann")));
    store.close().await;
}

#[tokio::test]
async fn mail_for_a_mailbox_that_an_alias_has_just_made_goes_there_and_not_to_the_catch_all() {
    let kit = Kit::new(On::Sqlite);
    let store = Store::open(kit.options.clone()).await.unwrap();
    let catch_all = AliasName::CatchAll(domain("example.org"));
    store.add_alias(&Alias { name: catch_all, targets: vec![name("all")] }).await.unwrap();
    let team = AliasName::Address(name("team"));
    store.add_alias(&Alias { name: team, targets: vec![name("bar")] }).await.unwrap();
    let (bar, team) = (address("bar@example.org"), address("team@example.org"));
    let to = |who: &str| Route::Mailboxes(vec![name(who)]);
    assert_eq!(store.route(&bar, None).await.unwrap(), to("all"), "there is no such mailbox yet");
    assert_eq!(store.route(&team, None).await.unwrap(), to("bar"));
    send(&store, &["bar"], "to the team").await.unwrap();
    assert_eq!(store.route(&bar, None).await.unwrap(), to("bar"));
    store.close().await;
}

#[tokio::test]
async fn a_mailbox_with_room_left_takes_what_fits_into_another() {
    let mut kit = Kit::new(On::Sqlite);
    kit.options.default_quota = Some(2000);
    let store = kit.open().await;
    let lenient = |to: &[&str], octets| Delivery {
        overdraft: Overdraft::ForOthers,
        ..delivery(to, memory(pattern(octets)))
    };
    send(&store, &["bob"], pattern(1500)).await.unwrap();
    // Alone it is refused, and so it is where it would never fit.
    for refused in [lenient(&["bob"], 1000), lenient(&["ann", "bob"], 2000)] {
        assert!(matches!(store.deliver(refused).await.unwrap_err(), Error::MailboxFull(_)));
    }
    assert_eq!(kit.rows().await, (1, 0, 1));
    store.deliver(lenient(&["ann", "bob", "cyd"], 1000)).await.unwrap();
    assert_eq!(kit.rows().await, (2, 0, 4));
    // No room is left now, so it takes no other.
    let refused = store.deliver(lenient(&["ann", "bob"], 10)).await.unwrap_err();
    assert_eq!(refused, Error::MailboxFull(name("bob")));
    let route = store.route(&address("bob@example.org"), None).await.unwrap();
    assert_eq!(route, Route::Full(name("bob")));
    kit.assert_in_order().await;
    store.close().await;
}

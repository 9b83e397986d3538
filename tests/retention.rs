//! What the store throws away by itself: what goes, what stays, and that no session loses a message from
//! under it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use pillarbox::store::outcome::Error;
use pillarbox::store::retention::Rules;
use pillarbox::store::testing::{sweep, sweep_impatiently};
use pillarbox::store::{Store, Tenure};
use std::time::{Duration, SystemTime};
use store_kit::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A store that sweeps when the test says so: a command has no task of its own that does.
async fn store_with(kit: &mut Kit, rules: Rules) -> Store {
    kit.options.retention = rules;
    kit.options.tenure = Tenure::Command;
    kit.open().await
}

async fn sweep_now(store: &Store) -> u64 {
    sweep(store, SystemTime::now()).await.expect("the store sweeps")
}

/// Makes the messages `ids` so many days older than they are.
async fn age(kit: &Kit, ids: &str, days: i64) {
    let sql = format!("UPDATE message SET received = received - {days} * 86400 WHERE id IN ({ids})");
    let sql = sqlx::AssertSqlSafe(sql);
    sqlx::raw_sql(sql).execute(&mut raw(kit.options.data_dir.as_path()).await).await.expect("an update");
}

#[tokio::test]
async fn messages_older_than_max_age_go_whoever_has_them_and_others_stay() {
    let mut kit = Kit::new(On::Sqlite);
    let store = store_with(&mut kit, Rules { age_max: Some(30 * DAY), ..Rules::default() }).await;
    for size in [3_000, 700_000] {
        send(&store, &["ann", "bob", "cyd"], pattern(size)).await.unwrap();
    }
    send(&store, &["ann"], "young").await.unwrap();
    assert_eq!(sweep_now(&store).await, 0);
    // Some copies of each, and in front one that a wrong clock has dated into the future.
    age(&kit, "2, 3, 4", 31).await;
    age(&kit, "1", -400).await;
    assert_eq!(sweep_now(&store).await, 3);
    assert_eq!(bodies(&store, "ann").await, [pattern(3_000), b"young".to_vec()]);
    assert_eq!(bodies(&store, "bob").await, [pattern(700_000)]);
    assert_eq!(bodies(&store, "cyd").await, [pattern(700_000)]);
    kit.assert_in_order().await;
    assert_eq!(
        sweep(&store, SystemTime::now() + 31 * DAY).await.unwrap(),
        3,
        "all but the one of the future"
    );
    assert_eq!(kit.rows().await, (1, 0, 1), "the large body has gone with its last copies");
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_mailbox_with_too_many_messages_loses_its_oldest() {
    let mut kit = Kit::new(On::Sqlite);
    let store = store_with(&mut kit, Rules { messages_max: Some(3), ..Rules::default() }).await;
    for number in 0..700 {
        send(&store, &["ann"], format!("message {number}")).await.unwrap();
    }
    for number in 0..3 {
        send(&store, &["bob"], format!("message {number}")).await.unwrap();
    }
    assert_eq!(sweep_now(&store).await, 697);
    assert_eq!(bodies(&store, "ann").await, [b"message 697", b"message 698", b"message 699"]);
    assert_eq!(bodies(&store, "bob").await.len(), 3);
    assert_eq!(sweep_now(&store).await, 0);
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_store_that_is_too_large_loses_its_oldest_and_no_more_than_it_must() {
    let mut kit = Kit::new(On::Sqlite);
    let store = store_with(&mut kit, Rules { octets_max: Some(1_000_000), ..Rules::default() }).await;
    for number in 0..15_u32 {
        let to = if number % 2 == 0 { "ann" } else { "bob" };
        send(&store, &[to], pattern(99_000 + number as usize)).await.unwrap();
    }
    assert_eq!(sweep_now(&store).await, 5);
    assert_eq!(bodies(&store, "ann").await.len() + bodies(&store, "bob").await.len(), 10);
    assert_eq!(bodies(&store, "bob").await[0], pattern(99_005));
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_mailbox_that_a_session_has_open_is_spared_until_the_session_ends() {
    let mut kit = Kit::new(On::Sqlite);
    let rules = Rules { age_max: Some(DAY), messages_max: Some(1), octets_max: Some(1) };
    let store = store_with(&mut kit, rules).await;
    for to in ["ann", "ann", "bob"] {
        send(&store, &[to], pattern(50_000)).await.unwrap();
    }
    age(&kit, "1, 2, 3", 2).await;
    let (maildrop, listing) = login(&store, "ann").await;
    assert_eq!(sweep_now(&store).await, 1, "that of bob");
    for entry in listing.entries() {
        assert_eq!(octets(maildrop.read(entry)).await.unwrap().len() as u64, entry.octets);
    }
    assert_eq!(maildrop.expunge(vec![ids(&listing)[0]]).await.unwrap().messages(), 1);
    assert_eq!(sweep_now(&store).await, 1);
    assert_eq!(kit.rows().await, (0, 0, 0));
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_login_that_meets_a_sweep_waits_for_its_commit_and_sees_nothing_of_what_goes() {
    let mut kit = Kit::new(On::Faulty);
    let store = store_with(&mut kit, Rules { messages_max: Some(1), ..Rules::default() }).await;
    send(&store, &["ann"], "old").await.unwrap();
    send(&store, &["ann"], "new").await.unwrap();
    kit.faults.hold_commits();
    let sweeping = tokio::spawn({
        let store = store.clone();
        async move { sweep_now(&store).await }
    });
    kit.faults.held().await;
    let mut session = tokio::spawn({
        let store = store.clone();
        async move { login(&store, "ann").await.1.entries().len() }
    });
    tokio::task::yield_now().await;
    assert!(futures_util::poll!(&mut session).is_pending(), "it waits");
    kit.faults.let_all_pass();
    assert_eq!(sweeping.await.unwrap(), 1);
    assert_eq!(session.await.unwrap(), 1, "and is not told that the mailbox is in use");
    store.close().await;
}

#[tokio::test]
async fn a_mailbox_that_got_smaller_while_a_sweep_was_busy_keeps_what_the_rule_leaves_it() {
    let mut kit = Kit::new(On::Sqlite);
    let other = store_with(&mut kit, Rules::default()).await;
    kit.on = On::Faulty;
    let store = store_with(&mut kit, Rules { messages_max: Some(3), ..Rules::default() }).await;
    for number in 0..6 {
        send(&store, &["ann", "bob"], format!("message {number}")).await.unwrap();
    }
    kit.faults.hold_commits();
    let sweeping = tokio::spawn({
        let store = store.clone();
        async move { sweep_now(&store).await }
    });
    kit.faults.held().await;
    // The sweep is with the first mailbox, and has seen that both are too full.
    let (maildrop, listing) = login(&other, "bob").await;
    assert_eq!(maildrop.expunge(ids(&listing)[2..5].to_vec()).await.unwrap().messages(), 3);
    kit.faults.let_all_pass();
    assert_eq!(sweeping.await.unwrap(), 3, "those of the first alone");
    assert_eq!(bodies(&store, "bob").await, [b"message 0", b"message 1", b"message 5"]);
    other.close().await;
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_session_that_stays_too_long_is_told_that_its_old_messages_are_gone() {
    let mut kit = Kit::new(On::Sqlite);
    let store = store_with(&mut kit, Rules { messages_max: Some(1), ..Rules::default() }).await;
    for body in ["one", "two", "three"] {
        send(&store, &["ann"], body).await.unwrap();
    }
    let (maildrop, listing) = login(&store, "ann").await;
    assert_eq!(sweep_now(&store).await, 0);
    assert_eq!(sweep_impatiently(&store, SystemTime::now()).await.unwrap(), 2);
    let entries = listing.entries();
    assert_eq!(octets(maildrop.read(&entries[0])).await, Err(Error::Gone));
    assert!(octets(maildrop.read(&entries[2])).await.unwrap().ends_with(b"three"));
    // Its deletions are done all the same, those of what is gone being nothing.
    assert_eq!(maildrop.expunge(ids(&listing)).await.unwrap().messages(), 1);
    store.close().await;
    kit.assert_in_order().await;
}

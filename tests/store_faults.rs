//! What the store does when a commit fails, is torn, takes long, or when nobody waits for it any more.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use pillarbox::store::Store;
use pillarbox::store::accounts::AccountError;
use pillarbox::store::maildrop::SILENCE_MAX;
use pillarbox::store::outcome::Error;
use pillarbox::store::testing::Fault;
use std::time::Instant;
use store_kit::*;

/// One of each change, in order. Each that succeeded is told to `done`, and so is known to be on disk.
async fn a_day(store: &Store, done: &mut Vec<&'static str>) -> Result<(), Error> {
    send(store, &["ann", "bob"], pattern(1000)).await?;
    done.push("delivered");
    let mut staging = store.stage().await?;
    staging.push(pattern(20_000).into()).await?;
    staging.push(pattern(20_000).into()).await?;
    store.deliver(delivery(&["ann"], staging.body())).await?;
    done.push("staged and delivered");
    drop(staging);
    let (maildrop, listing) = login(store, "ann").await;
    maildrop.expunge(vec![ids(&listing)[0]]).await?;
    done.push("expunged");
    store.add_account(&name("cyd"), &kept("hash"), None).await.map_err(|error| match error {
        AccountError::Store(error) => error,
        other => panic!("{other}"),
    })?;
    done.push("added");
    Ok(())
}

/// What must be there when so much of the day was acknowledged: messages of ann, of bob, accounts.
fn at_least(done: &[&str]) -> (usize, usize, usize) {
    match done.len() {
        0 => (0, 0, 0),
        1 => (1, 1, 2),
        2 => (2, 1, 2),
        3 => (1, 1, 2),
        _ => (1, 1, 3),
    }
}

async fn what_is_there(store: &Store) -> (usize, usize, usize) {
    let accounts = store.accounts().await.unwrap().len();
    (bodies(store, "ann").await.len(), bodies(store, "bob").await.len(), accounts)
}

#[tokio::test]
async fn whichever_commit_fails_nothing_of_it_is_acknowledged_or_kept_and_the_next_works() {
    for nth in 1.. {
        let mut kit = Kit::new(On::Faulty);
        let store = kit.open().await;
        let before = kit.faults.commits();
        kit.faults.on_commit(nth, Fault::Fail(Error::DiskFull));
        let mut done = Vec::new();
        let outcome = a_day(&store, &mut done).await;
        assert_eq!(what_is_there(&store).await, at_least(&done), "commit {nth}");
        if outcome.is_ok() && kit.faults.commits() - before < nth {
            assert!(nth > 6, "the day has more commits than that");
            return;
        }
        // The discard of a body that was delivered meanwhile may fail: nobody waits for it.
        assert!(outcome.is_ok() || outcome == Err(Error::DiskFull), "commit {nth}: {outcome:?}");
        send(&store, &["dan"], "there is room again").await.unwrap();
        assert_eq!(bodies(&store, "dan").await.len(), 1);
        store.close().await;
        kit.assert_in_order().await;
        let (bodies, _, _) = kit.rows().await;
        let named = if done.len() > 1 { 2 } else { done.len() as i64 };
        assert_eq!(bodies, named + 1, "commit {nth}: nothing is left staged");
    }
}

#[tokio::test]
async fn after_a_commit_of_unknown_fate_nothing_is_acknowledged_any_more() {
    for lost in [false, true] {
        let mut kit = Kit::new(On::Faulty);
        let store = kit.open().await;
        send(&store, &["ann"], "before").await.unwrap();
        let (maildrop, listing) = login(&store, "ann").await;
        let broken = Error::Broken("fsync: input/output error".into());
        let fault = if lost { Fault::Lose(broken.clone()) } else { Fault::Fail(broken.clone()) };
        kit.faults.on_commit(1, fault);
        let (one, two) = tokio::join!(send(&store, &["ann"], "doubt"), send(&store, &["ann"], "doubt"));
        assert_eq!(one.unwrap_err(), broken);
        assert_eq!(two.unwrap_err(), broken);
        let commits = kit.faults.commits();
        assert_eq!(send(&store, &["ann"], "after").await.unwrap_err(), broken);
        assert_eq!(maildrop.expunge(ids(&listing)).await.unwrap_err(), broken);
        assert_eq!(store.stage().await.unwrap_err(), broken);
        assert_eq!(store.peek(&name("ann")).await.unwrap_err(), broken);
        assert_eq!(kit.faults.commits(), commits, "the disk was not even tried again");
        assert_eq!(store.broken().await, "fsync: input/output error");
        store.close().await;
        let store = kit.open().await;
        let doubtful = bodies(&store, "ann").await.len();
        assert!(if lost { doubtful >= 2 } else { doubtful == 1 }, "what was acknowledged is there");
        store.close().await;
        kit.assert_in_order().await;
    }
}

#[tokio::test]
async fn a_torn_batch_is_acknowledged_to_nobody() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    kit.faults.hold_commits();
    let first = tokio::spawn({
        let store = store.clone();
        async move { send(&store, &["ann"], "0").await }
    });
    kit.faults.held().await;
    kit.faults.on_commit(1, Fault::Tear(Error::Unavailable("half".into())));
    let mut waiting = Box::pin(async {
        let sends = ["1", "2", "3", "4"].map(|text| send(&store, &["ann"], text));
        futures_util::future::join_all(sends).await
    });
    assert!(futures_util::poll!(&mut waiting).is_pending());
    kit.faults.let_all_pass();
    assert!(first.await.unwrap().is_ok());
    for answer in waiting.await {
        assert_eq!(answer.unwrap_err(), Error::Unavailable("half".into()));
    }
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn the_answer_comes_after_the_commit_and_not_before() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    kit.faults.hold_commits();
    let mut sent = Box::pin(send(&store, &["ann"], "mail"));
    assert!(futures_util::poll!(&mut sent).is_pending());
    kit.faults.held().await;
    assert!(futures_util::poll!(&mut sent).is_pending());
    assert!(bodies(&store, "ann").await.is_empty());
    kit.faults.let_all_pass();
    sent.await.unwrap();
    assert_eq!(bodies(&store, "ann").await.len(), 1);
    store.close().await;
}

#[tokio::test]
async fn what_waits_during_one_commit_is_the_next() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    let before = kit.faults.commits();
    kit.faults.hold_commits();
    let mut sends = Box::pin(async {
        let to: Vec<String> = (0..100).map(|n| format!("user{n}")).collect();
        futures_util::future::join_all(to.iter().map(async |to| send(&store, &[to], "mail").await)).await
    });
    // The first poll puts all of them into the queue; the writer has not run yet.
    assert!(futures_util::poll!(&mut sends).is_pending());
    kit.faults.held().await;
    kit.faults.let_all_pass();
    assert!(sends.await.iter().all(Result::is_ok));
    assert_eq!(kit.faults.commits() - before, 1, "a hundred messages, one sync");
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_sender_who_leaves_while_the_commit_runs_changes_nothing() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    kit.faults.hold_commits();
    let mut left = Box::pin(send(&store, &["ann", "bob"], "mail"));
    assert!(futures_util::poll!(&mut left).is_pending());
    drop(left);
    kit.faults.let_all_pass();
    send(&store, &["ann"], "the next").await.unwrap();
    assert_eq!(bodies(&store, "ann").await.len(), 2);
    assert_eq!(bodies(&store, "bob").await.len(), 1);
    store.close().await;
    kit.assert_in_order().await;
}

#[tokio::test]
async fn a_sender_who_leaves_with_the_first_slice_leaves_nothing_behind() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    let before = kit.faults.commits();
    kit.faults.hold_commits();
    let mut staging = store.stage().await.unwrap();
    {
        let mut push = Box::pin(staging.push(pattern(20_000).into()));
        assert!(futures_util::poll!(&mut push).is_pending());
        kit.faults.held().await;
    }
    drop(staging);
    kit.faults.let_all_pass();
    // The slice is committed first, then its discard.
    while kit.faults.commits() < before + 2 {
        tokio::task::yield_now().await;
    }
    store.close().await;
    assert_eq!(kit.rows().await, (0, 0, 0));
}

#[tokio::test]
async fn a_session_whose_deletions_are_under_way_is_never_taken_over() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    send(&store, &["ann"], "mail").await.unwrap();
    let now = Instant::now();
    let (maildrop, listing) = try_login(&store, "ann", now).await.unwrap();
    kit.faults.hold_commits();
    let mut update = Box::pin(maildrop.expunge(ids(&listing)));
    assert!(futures_util::poll!(&mut update).is_pending());
    drop(update);
    assert!(try_login(&store, "ann", now + 2 * SILENCE_MAX).await.is_none(), "not even when its peer left");
    kit.faults.let_all_pass();
    send(&store, &["bob"], "behind it in the queue").await.unwrap();
    let (_, listing) = try_login(&store, "ann", now).await.expect("the lease went back after the commit");
    assert!(listing.entries().is_empty());
    store.close().await;
}

#[tokio::test]
async fn a_question_that_fails_is_told_and_gives_the_lease_back() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    send(&store, &["ann"], pattern(600_000)).await.unwrap();
    let trouble = Error::Unavailable("the database is locked".into());
    kit.faults.on_question(1, trouble.clone());
    let refused = pillarbox::store::testing::open_maildrop(&store, &name("ann"), Instant::now()).await;
    assert_eq!(refused.unwrap_err(), trouble);
    let (maildrop, listing) = login(&store, "ann").await;
    kit.faults.on_question(3, trouble.clone());
    let mut reader = maildrop.read(&listing.entries()[0]);
    let mut read = 0;
    let error = loop {
        match reader.next().await {
            Ok(Some(slice)) => read += slice.len() as u64,
            Ok(None) => panic!("it must not end as if it were whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, trouble);
    while let Some(slice) = reader.next().await.unwrap() {
        read += slice.len() as u64;
    }
    assert_eq!(read, listing.entries()[0].octets, "asked again it goes on where it stood");
    store.close().await;
}

#[tokio::test]
async fn a_writer_that_panics_breaks_the_store_instead_of_refusing_mail_for_ever() {
    let mut kit = Kit::new(On::Faulty);
    let store = kit.open().await;
    kit.faults.on_commit(1, Fault::Panic);
    assert!(matches!(send(&store, &["ann"], "lost").await.unwrap_err(), Error::Broken(_)));
    assert!(store.broken().await.contains("a fault of the program"));
    assert!(matches!(send(&store, &["ann"], "after").await.unwrap_err(), Error::Broken(_)));
    store.close().await;
    let store = kit.open().await;
    assert_eq!(bodies(&store, "ann").await.len(), 0);
    send(&store, &["ann"], "again").await.unwrap();
    store.close().await;
}

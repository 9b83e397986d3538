//! How a session reads: in which order it asks and what it leaves out must not be seen in what it gets,
//! though the store reads ahead of it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it cannot do")]

mod store_kit;

use pillarbox::mail::ids::MessageId;
use pillarbox::mail::listing::Entry;
use pillarbox::store::Store;
use pillarbox::store::maildrop::Maildrop;
use pillarbox::store::outcome::Error;
use std::collections::HashSet;
use store_kit::*;

const MESSAGES: usize = 150;

/// Large ones, which end a lot, lie among small ones; some are in chunks and some have no octets at all.
fn size(message: usize) -> usize {
    match message % 25 {
        7 => 0,
        9 | 10 => 100_000,
        11 => 300_000,
        n => 500 + 997 * n,
    }
}

async fn filled(kit: &mut Kit) -> Store {
    let store = kit.open().await;
    let sends = (0..MESSAGES).map(|message| {
        let mut body = format!("{message}\r\n").into_bytes();
        body.extend(pattern(size(message)));
        store.deliver(delivery(&["ann"], memory(body)))
    });
    for send in sends {
        send.await.unwrap();
    }
    store
}

/// Reads a message as a session does that has marked some.
async fn read(
    maildrop: &mut Maildrop,
    entries: &[Entry],
    at: usize,
    marked: &HashSet<MessageId>,
) -> Result<(), Error> {
    let behind = entries[at + 1..].iter().filter(|entry| !marked.contains(&entry.id)).copied();
    let found = octets(maildrop.read_ahead(&entries[at], behind).await?).await?;
    let head = copy_for("ann").head;
    let body = found.strip_prefix(&head[..]).expect("the head comes first");
    let body = body.strip_prefix(format!("{at}\r\n").as_bytes()).expect("the number of the message");
    assert!(body == pattern(size(at)), "message {at}");
    Ok(())
}

/// A step that looks like chance and is the same each time.
fn jump(from: usize) -> usize {
    (from * 7919 + 13) % MESSAGES
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_whatever_order_a_session_asks_it_gets_the_message_that_it_asked_for() {
    let mut kit = Kit::new(On::Sqlite);
    let store = filled(&mut kit).await;
    let (mut maildrop, listing) = login(&store, "ann").await;
    let (entries, none) = (listing.entries(), HashSet::new());
    let in_order = 0..MESSAGES;
    let leaving_out = (0..MESSAGES).filter(|n| n % 5 != 3);
    let backwards = (0..MESSAGES).rev();
    let twice = (0..2 * MESSAGES).map(|n| n / 2);
    // Runs of some messages, each from another place on.
    let in_runs = (0..8).scan(0, |at, _| {
        *at = jump(*at);
        Some(*at..(*at + 31).min(MESSAGES))
    });
    let order = in_order.chain(leaving_out).chain(backwards).chain(twice).chain(in_runs.flatten());
    for at in order {
        read(&mut maildrop, entries, at, &none).await.unwrap();
    }
    drop(maildrop);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_are_set_while_the_store_reads_ahead_leave_no_message_out() {
    let mut kit = Kit::new(On::Sqlite);
    let store = filled(&mut kit).await;
    let (mut maildrop, listing) = login(&store, "ann").await;
    let (entries, mut marked) = (listing.entries(), HashSet::new());
    for at in 0..MESSAGES {
        if marked.contains(&entries[at].id) {
            continue;
        }
        read(&mut maildrop, entries, at, &marked).await.unwrap();
        // The message just read, as many clients do, and one further on that may be read ahead already.
        marked.insert(entries[at].id);
        if at % 4 == 0 {
            marked.extend(entries.get(at + 9).map(|entry| entry.id));
        }
    }
    drop(maildrop);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_account_that_was_removed_nothing_is_read_though_it_was_read_ahead() {
    let mut kit = Kit::new(On::Sqlite);
    let store = filled(&mut kit).await;
    let (mut maildrop, listing) = login(&store, "ann").await;
    let (entries, none) = (listing.entries(), HashSet::new());
    for at in 0..30 {
        read(&mut maildrop, entries, at, &none).await.unwrap();
    }
    store.remove_account(&name("ann")).await.unwrap();
    for at in 30..MESSAGES {
        assert_eq!(read(&mut maildrop, entries, at, &none).await, Err(Error::Gone), "message {at}");
    }
    drop(maildrop);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_fails_is_told_to_nobody_but_whoever_needs_its_answer() {
    let mut kit = Kit::new(On::Faulty);
    let store = filled(&mut kit).await;
    let (mut maildrop, listing) = login(&store, "ann").await;
    let (entries, none) = (listing.entries(), HashSet::new());
    let mut failed = 0;
    for at in 0..MESSAGES {
        if at % 20 == 5 {
            kit.faults.on_question(1, Error::Unavailable("for a moment".into()));
        }
        // Asked again, a message comes.
        if read(&mut maildrop, entries, at, &none).await.is_err() {
            failed += 1;
            read(&mut maildrop, entries, at, &none).await.unwrap();
        }
    }
    assert!(failed <= MESSAGES / 20 + 1, "{failed} failures");
    drop(maildrop);
    store.close().await;
}

//! Who may send as whom.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it cannot do")]

mod store_kit;

use pillarbox::auth::outcome::Login;
use pillarbox::mail::address::Sender;
use pillarbox::store::Store;
use pillarbox::store::accounts::{Alias, AliasName};
use pillarbox::store::outcome::{Error, Route};
use std::time::Instant;
use store_kit::*;

fn alias(from: &str, to: &[&str]) -> Alias {
    let name = match from.strip_prefix('@') {
        Some(of) => AliasName::CatchAll(domain(of)),
        None => AliasName::Address(name(from)),
    };
    Alias { name, targets: to.iter().map(|to| store_kit::name(to)).collect() }
}

/// A login of the account that has this name now.
async fn login(store: &Store, of: &str) -> Login {
    match store.account(&name(of)).await.unwrap() {
        Some((id, _)) => Login::pretended_of(name(of), id),
        None => Login::pretended(name(of)),
    }
}

async fn may_send(store: &Store, who: &Login, from: &str) -> bool {
    store.may_send(who, &Sender::Address(address(from))).await.unwrap()
}

#[tokio::test]
async fn an_account_sends_as_itself_its_tags_and_the_aliases_that_end_in_it() {
    let mut kit = Kit::new(On::Sqlite);
    kit.options = closed(&kit.options);
    kit.options.domains.push(domain("example.net"));
    kit.options.default_quota = Some(10);
    let store = kit.open().await;
    for account in ["ann", "bob", "bob+own", "x@elsewhere.example"] {
        store.add_account(&name(account), &kept("hash"), None).await.unwrap();
    }
    store.add_alias(&alias("team", &["ann", "bob"])).await.unwrap();
    store.add_alias(&alias("all", &["team"])).await.unwrap();
    store.add_alias(&alias("@example.net", &["ann"])).await.unwrap();
    for (account, from, may) in [
        ("ann", "ann@example.org", true),
        ("ann", "Ann@EXAMPLE.org", true),
        ("ann", "ann+shop@example.org", true),
        ("ann", "team@example.org", true),
        ("ann", "team+tag@example.org", true),
        ("ann", "all@example.org", true),
        ("ann", "whoever@example.net", true),
        ("ann", "bob@example.org", false),
        ("ann", "bob+shop@example.org", false),
        ("bob", "bob+shop@example.org", true),
        ("bob", "bob+own@example.org", false),
        ("bob+own", "bob+own@example.org", true),
        ("bob+own", "bob@example.org", false),
        ("bob", "whoever@example.net", false),
        ("ann", "whoever@example.org", false),
        ("ann", "postmaster@example.org", false),
        ("ann", "ann@elsewhere.example", false),
        ("x@elsewhere.example", "x@elsewhere.example", true),
        ("ann", "x@elsewhere.example", false),
        ("nobody", "ann@example.org", false),
    ] {
        let got = may_send(&store, &login(&store, account).await, from).await;
        assert_eq!(got, may, "{account} as {from}");
    }
    send(&store, &["ann"], "x").await.map(drop).unwrap_or_else(|error| {
        assert_eq!(error, Error::MailboxFull(name("ann")));
    });
    assert!(matches!(store.route(&address("ann@example.org"), Some(11)).await.unwrap(), Route::Full(_)));
    let ann = login(&store, "ann").await;
    assert!(may_send(&store, &ann, "team@example.org").await, "full, and may send");
    store.close().await;
}

#[tokio::test]
async fn an_account_that_was_removed_sends_no_more() {
    let mut kit = Kit::new(On::Sqlite);
    kit.options = closed(&kit.options);
    let store = kit.open().await;
    store.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
    store.add_account(&name("bob"), &kept("hash"), None).await.unwrap();
    store.add_alias(&alias("team", &["ann", "bob"])).await.unwrap();
    let ann = login(&store, "ann").await;
    store.remove_account(&name("ann")).await.unwrap();
    let every = ["ann@example.org", "ann+shop@example.org", "team@example.org"];
    for from in every {
        assert!(!may_send(&store, &ann, from).await, "{from}");
    }
    store.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
    store.add_alias(&alias("every", &["ann"])).await.unwrap();
    let new = login(&store, "ann").await;
    for from in ["ann@example.org", "ann+shop@example.org", "every@example.org"] {
        assert!(!may_send(&store, &ann, from).await, "{from}, and it is another ann");
        assert!(may_send(&store, &new, from).await, "{from}");
    }
    assert!(!store.may_send(&ann, &Sender::Null).await.unwrap());
    assert!(store.may_send(&new, &Sender::Null).await.unwrap());
    assert!(may_send(&store, &login(&store, "bob").await, "team@example.org").await);
    store.close().await;
}

#[tokio::test]
async fn in_open_mode_anybody_sends_as_anybody() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    assert!(may_send(&store, &login(&store, "ann").await, "bob@anywhere.example").await);
    store.close().await;
}

#[tokio::test]
async fn a_mailbox_whose_name_was_given_again_is_of_the_new_account_alone() {
    let mut kit = Kit::new(On::Sqlite);
    kit.options = closed(&kit.options);
    let store = kit.open().await;
    let now = Instant::now();
    store.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
    let old = login(&store, "ann").await;
    let (ghost, _) = store.open_maildrop(&old, now).await.unwrap().unwrap();
    store.remove_account(&name("ann")).await.unwrap();
    store.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
    send(&store, &["ann"], "x").await.unwrap();
    let new = login(&store, "ann").await;
    let (own, listing) = store.open_maildrop(&new, now).await.unwrap().unwrap();
    assert_eq!(listing.entries().len(), 1);
    ghost.evicted().await;
    drop(ghost);
    assert!(store.open_maildrop(&old, now).await.unwrap().is_none(), "it takes nothing over");
    drop(own);
    let (_, listing) = store.open_maildrop(&old, now).await.unwrap().unwrap();
    assert!(listing.entries().is_empty(), "mail of somebody else");
    store.close().await;
}

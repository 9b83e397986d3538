//! Who may send as whom.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test stops at what it cannot do")]

mod store_kit;

use pillarbox::store::accounts::{Alias, AliasName};
use pillarbox::store::outcome::{Error, Route};
use store_kit::*;

fn alias(from: &str, to: &[&str]) -> Alias {
    let name = match from.strip_prefix('@') {
        Some(of) => AliasName::CatchAll(domain(of)),
        None => AliasName::Address(name(from)),
    };
    Alias { name, targets: to.iter().map(|to| store_kit::name(to)).collect() }
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
        let got = store.may_send_as(&name(account), &address(from)).await.unwrap();
        assert_eq!(got, may, "{account} as {from}");
    }
    send(&store, &["ann"], "x").await.map(drop).unwrap_or_else(|error| {
        assert_eq!(error, Error::MailboxFull(name("ann")));
    });
    assert!(matches!(store.route(&address("ann@example.org"), Some(11)).await.unwrap(), Route::Full(_)));
    assert!(
        store.may_send_as(&name("ann"), &address("team@example.org")).await.unwrap(),
        "full, and may send"
    );
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
    store.remove_account(&name("ann")).await.unwrap();
    for from in ["ann@example.org", "ann+shop@example.org", "team@example.org"] {
        assert!(!store.may_send_as(&name("ann"), &address(from)).await.unwrap(), "{from}");
    }
    assert!(store.may_send_as(&name("bob"), &address("team@example.org")).await.unwrap());
    store.close().await;
}

#[tokio::test]
async fn in_open_mode_anybody_sends_as_anybody() {
    let mut kit = Kit::new(On::Sqlite);
    let store = kit.open().await;
    assert!(store.may_send_as(&name("ann"), &address("bob@anywhere.example")).await.unwrap());
    store.close().await;
}

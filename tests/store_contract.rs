//! What every engine must do: each test runs on SQLite and on SQLite behind the wrapper that injects
//! faults (without a fault, it must not be noticed).
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod store_kit;

use bytes::Bytes;
use pillarbox::mail::body::Body;
use pillarbox::store::accounts::{AccountError, Alias, AliasName, Mode, Origin, StoredPassword};
use pillarbox::store::maildrop::SILENCE_MAX;
use pillarbox::store::outcome::{Error, Route};
use pillarbox::store::{Store, Tenure};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use store_kit::*;

/// Makes a test of each engine out of one function.
macro_rules! contract {
    ($(async fn $name:ident($kit:ident: Kit) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn holds(mut $kit: Kit) $body

            #[tokio::test]
            async fn on_sqlite() {
                holds(Kit::new(On::Sqlite)).await;
            }

            #[tokio::test]
            async fn behind_the_wrapper() {
                holds(Kit::new(On::Faulty)).await;
            }
        }
    )*};
}

contract! {
    async fn a_message_of_any_size_comes_back_octet_for_octet(kit: Kit) {
        let store = kit.open().await;
        let sizes = [0, 1, 1024, 65_535, 65_536, 65_537, 262_144, 262_145, 1_000_000, 3_000_000];
        for size in sizes {
            send(&store, &["ann"], pattern(size)).await.unwrap();
        }
        let found: Vec<_> = bodies(&store, "ann").await;
        assert_eq!(found, sizes.map(pattern));
        store.close().await;
        kit.assert_in_order().await;
    }

    async fn slices_of_a_body_are_joined_wherever_they_were_cut(kit: Kit) {
        let store = kit.open().await;
        let whole = pattern(700_000);
        for cut in [1000, 16_384, 262_144, 300_000] {
            let slices = whole.chunks(cut).map(Bytes::copy_from_slice).collect();
            store.deliver(delivery(&["ann"], Body::Memory(slices))).await.unwrap();
        }
        assert!(bodies(&store, "ann").await.iter().all(|body| *body == whole));
        store.close().await;
    }

    async fn what_was_acknowledged_is_there_after_a_restart(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann"], "one\r\n").await.unwrap();
        store.close().await;
        let store = kit.open().await;
        assert_eq!(bodies(&store, "ann").await, [b"one\r\n"]);
        store.close().await;
    }

    async fn a_message_for_many_is_kept_once_and_goes_with_its_last_copy(kit: Kit) {
        let store = kit.open().await;
        for size in [5_000, 500_000] {
            send(&store, &["ann", "bob", "cyd"], pattern(size)).await.unwrap();
        }
        assert_eq!(kit.rows().await, (2, 4, 6));
        for (mailbox, rows_after) in [("bob", (2, 4, 4)), ("ann", (2, 4, 2)), ("cyd", (0, 0, 0))] {
            let (maildrop, listing) = login(&store, mailbox).await;
            assert_eq!(octets(maildrop.read(&listing.entries()[1])).await.unwrap().len() as u64,
                listing.entries()[1].octets);
            assert_eq!(maildrop.expunge(ids(&listing)).await.unwrap().messages(), 2);
            assert_eq!(kit.rows().await, rows_after, "after {mailbox}");
            kit.assert_in_order().await;
        }
        store.close().await;
    }

    async fn a_mailbox_that_is_named_twice_gets_one_copy(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann", "bob", "ANN"], "once").await.unwrap();
        assert_eq!(bodies(&store, "ann").await.len(), 1);
        let (maildrop, listing) = login(&store, "ann").await;
        maildrop.expunge(ids(&listing)).await.unwrap();
        kit.assert_in_order().await;
        store.close().await;
    }

    async fn only_the_messages_named_are_deleted(kit: Kit) {
        let store = kit.open().await;
        for text in ["a", "b", "c"] {
            send(&store, &["ann"], text).await.unwrap();
            send(&store, &["bob"], text).await.unwrap();
        }
        let (maildrop, listing) = login(&store, "ann").await;
        let of_bob = ids(&login(&store, "bob").await.1);
        let wanted = vec![ids(&listing)[1], of_bob[0]];
        assert_eq!(maildrop.expunge(wanted).await.unwrap().messages(), 1, "a stranger's message is not hers");
        assert_eq!(bodies(&store, "ann").await, [b"a", b"c"]);
        assert_eq!(bodies(&store, "bob").await, [b"a", b"b", b"c"]);
        kit.assert_in_order().await;
        store.close().await;
    }

    async fn a_staged_body_is_seen_only_when_a_delivery_names_it(kit: Kit) {
        let store = kit.open().await;
        let whole = pattern(100_000);
        let mut staging = store.stage().await.unwrap();
        for slice in whole.chunks(16_384) {
            staging.push(Bytes::copy_from_slice(slice)).await.unwrap();
        }
        staging.push(Bytes::new()).await.unwrap();
        assert!(bodies(&store, "ann").await.is_empty());
        store.deliver(delivery(&["ann", "bob"], staging.body())).await.unwrap();
        drop(staging);
        send(&store, &["cyd"], "after the drop").await.unwrap();
        assert_eq!(bodies(&store, "ann").await, std::slice::from_ref(&whole));
        assert_eq!(bodies(&store, "bob").await, [whole]);
        assert_eq!(kit.rows().await, (2, 7, 3));
        kit.assert_in_order().await;
        store.close().await;
    }

    async fn a_staged_body_without_a_delivery_goes_with_its_session(kit: Kit) {
        let store = kit.open().await;
        let mut staging = store.stage().await.unwrap();
        staging.push(pattern(20_000).into()).await.unwrap();
        staging.push(pattern(20_000).into()).await.unwrap();
        assert_eq!(kit.rows().await, (1, 2, 0));
        drop(staging);
        send(&store, &["ann"], "one commit later").await.unwrap();
        assert_eq!(kit.rows().await, (1, 0, 1));
        store.close().await;
        kit.assert_in_order().await;
    }

    async fn a_body_that_was_staged_short_is_not_delivered(kit: Kit) {
        let store = kit.open().await;
        let mut staging = store.stage().await.unwrap();
        staging.push(pattern(20_000).into()).await.unwrap();
        let Body::Staged { id, octets } = staging.body() else { panic!("it is staged") };
        let longer = Body::Staged { id, octets: octets + 1 };
        let refused = store.deliver(delivery(&["ann"], longer)).await.unwrap_err();
        assert!(matches!(refused, Error::Unavailable(_)), "{refused}");
        store.deliver(delivery(&["ann"], staging.body())).await.unwrap();
        let again = store.deliver(delivery(&["ann"], staging.body())).await.unwrap_err();
        assert!(matches!(again, Error::Unavailable(_)), "a body is delivered once: {again}");
        store.close().await;
        kit.assert_in_order().await;
    }

    async fn what_a_crash_has_left_staged_is_cleared_by_the_next_server_and_by_no_command(kit: Kit) {
        let store = kit.open().await;
        let mut staging = store.stage().await.unwrap();
        staging.push(pattern(50_000).into()).await.unwrap();
        let body = staging.body();
        kit.options.tenure = Tenure::Command;
        let command = Store::open(kit.options.clone()).await.unwrap();
        command.close().await;
        assert_eq!(kit.rows().await, (1, 1, 0), "a command leaves it alone");
        store.deliver(delivery(&["ann"], body)).await.unwrap();
        drop(staging);
        let mut left = store.stage().await.unwrap();
        left.push(pattern(50_000).into()).await.unwrap();
        // Closing first is what a crash looks like: the drop comes too late to tell the writer.
        store.close().await;
        drop(left);
        assert_eq!(kit.rows().await, (2, 2, 1));
        kit.options.tenure = Tenure::Server;
        kit.open().await.close().await;
        assert_eq!(kit.rows().await, (1, 1, 1));
        kit.assert_in_order().await;
    }

    async fn a_quota_is_never_passed_not_even_by_deliveries_at_once(kit: Kit) {
        let size = 1000 + copy_for("ann").head.len() as u64;
        kit.options.default_quota = Some(10 * size);
        let store = kit.open().await;
        let sends = (0..50).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { send(&store, &["ann"], pattern(1000)).await })
        });
        let mut kept = 0;
        for sent in sends.collect::<Vec<_>>() {
            match sent.await.unwrap() {
                Ok(_) => kept += 1,
                Err(error) => assert_eq!(error, Error::MailboxFull(name("ann"))),
            }
        }
        assert_eq!(kept, 10);
        let route = store.route(&address("ann@example.org"), None).await.unwrap();
        assert_eq!(route, Route::Full(name("ann")));
        send(&store, &["bob"], "a full neighbour harms nobody").await.unwrap();
        kit.assert_in_order().await;
        store.close().await;
    }

    async fn a_message_is_kept_for_all_its_mailboxes_or_for_none(kit: Kit) {
        kit.options.default_quota = Some(1000);
        let store = kit.open().await;
        send(&store, &["bob"], pattern(850)).await.unwrap();
        let refused = send(&store, &["ann", "bob", "cyd"], pattern(500)).await.unwrap_err();
        assert_eq!(refused, Error::MailboxFull(name("bob")));
        assert_eq!(store.peek(&name("ann")).await.unwrap().map(|l| l.entries().len()), None);
        assert_eq!(kit.rows().await, (1, 0, 1));
        store.close().await;
    }

    async fn a_mailbox_that_is_gone_is_named_and_harms_no_neighbour(kit: Kit) {
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        store.add_account(&name("ann"), &kept("x"), None).await.unwrap();
        let (to_ann, to_bob) =
            tokio::join!(send(&store, &["ann"], "hello"), send(&store, &["ann", "bob"], "hello"));
        assert!(to_ann.is_ok());
        assert_eq!(to_bob.unwrap_err(), Error::NoMailbox(name("bob")));
        assert_eq!(kit.rows().await, (1, 0, 1));
        store.close().await;
    }

    async fn a_unique_id_is_never_used_again(kit: Kit) {
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let store = kit.open().await;
            send(&store, &["ann"], "last one").await.unwrap();
            let (maildrop, listing) = login(&store, "ann").await;
            assert!(seen.insert(listing.uid(&listing.entries()[0]).to_string()));
            maildrop.expunge(ids(&listing)).await.unwrap();
            store.remove_account(&name("ann")).await.unwrap();
            store.close().await;
        }
        let eras: HashSet<_> = seen.iter().map(|uid| uid.split('.').next().unwrap()).collect();
        assert_eq!(eras.len(), 1, "the era belongs to the database");
    }

    async fn one_session_at_a_time_has_a_mailbox(kit: Kit) {
        let store = kit.open().await;
        let now = Instant::now();
        let (maildrop, listing) = try_login(&store, "nobody-yet", now).await.unwrap();
        assert!(listing.entries().is_empty(), "a mailbox without mail is empty, not unknown");
        assert!(try_login(&store, "nobody-yet", now).await.is_none());
        assert!(try_login(&store, "another", now).await.is_some());
        drop(maildrop);
        let (maildrop, _) = try_login(&store, "nobody-yet", now).await.unwrap();
        maildrop.expunge(vec![]).await.unwrap();
        assert!(try_login(&store, "nobody-yet", now).await.is_some(), "an update gives the lease back");
        store.close().await;
    }

    async fn a_silent_session_gives_way_and_deletes_nothing(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann"], "stays").await.unwrap();
        let begin = Instant::now();
        let (old, listing) = try_login(&store, "ann", begin).await.unwrap();
        old.touch(begin + Duration::from_secs(30));
        let nearly = begin + Duration::from_secs(30) + SILENCE_MAX - Duration::from_millis(1);
        assert!(try_login(&store, "ann", nearly).await.is_none());
        let (new, _) = try_login(&store, "ann", nearly + Duration::from_millis(1)).await.unwrap();
        old.evicted().await;
        assert_eq!(old.expunge(ids(&listing)).await.unwrap_err(), Error::LeaseLost);
        assert_eq!(bodies(&store, "ann").await.len(), 1);
        assert!(try_login(&store, "ann", nearly).await.is_none(), "the old one gave nothing back");
        assert_eq!(new.expunge(ids(&listing)).await.unwrap().messages(), 1);
        store.close().await;
    }

    async fn mail_that_comes_during_a_session_waits_for_the_next(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann"], "first").await.unwrap();
        let (maildrop, listing) = login(&store, "ann").await;
        send(&store, &["ann"], "second").await.unwrap();
        maildrop.expunge(ids(&listing)).await.unwrap();
        assert_eq!(bodies(&store, "ann").await, [b"second"]);
        store.close().await;
    }

    async fn a_hundred_thousand_messages_are_listed_in_order(kit: Kit) {
        let store = kit.open().await;
        let mut sends = tokio::task::JoinSet::new();
        let body = memory("x\r\n");
        for _ in 0..100_000 {
            if sends.len() >= 1000 {
                sends.join_next().await.unwrap().unwrap();
            }
            let (store, mail) = (store.clone(), delivery(&["ann"], body.clone()));
            sends.spawn(async move { store.deliver(mail).await.map(|_| ()).unwrap() });
        }
        sends.join_all().await;
        let begin = Instant::now();
        let (maildrop, listing) = login(&store, "ann").await;
        let took = begin.elapsed();
        assert_eq!(listing.entries().len(), 100_000);
        assert!(listing.entries().is_sorted_by_key(|entry| entry.id));
        assert!(took < Duration::from_secs(3), "even unoptimised and beside others: {took:?}");
        assert_eq!(maildrop.expunge(ids(&listing)).await.unwrap().messages(), 100_000);
        assert_eq!(kit.rows().await, (0, 0, 0));
        store.close().await;
    }

    async fn a_message_that_is_removed_while_it_is_read_ends_in_an_error(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann"], pattern(600_000)).await.unwrap();
        let listing = store.peek(&name("ann")).await.unwrap().unwrap();
        let mut reader = store.peek_message(&listing.entries()[0]);
        assert!(reader.next().await.unwrap().is_some());
        store.remove_account(&name("ann")).await.unwrap();
        send(&store, &["bob"], pattern(600_000)).await.unwrap();
        assert!(reader.next().await.is_err(), "and never in the octets of another message");
        store.close().await;
    }

    async fn after_close_everything_is_refused(kit: Kit) {
        let store = kit.open().await;
        let listing = { send(&store, &["ann"], "x").await.unwrap(); login(&store, "ann").await.1 };
        store.clone().close().await;
        let refused = |error: Error| assert!(matches!(error, Error::Unavailable(_)), "{error}");
        refused(send(&store, &["ann"], "y").await.unwrap_err());
        refused(store.peek(&name("ann")).await.unwrap_err());
        refused(octets(store.peek_message(&listing.entries()[0])).await.unwrap_err());
        kit.open().await.close().await;
    }

    async fn accounts_are_added_changed_listed_and_removed(kit: Kit) {
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        store.add_account(&name("ann"), &kept("hash one"), Some(5000)).await.unwrap();
        let twice = store.add_account(&name("ANN"), &kept("hash two"), None).await.unwrap_err();
        assert_eq!(twice.to_string(), "ann@example.org is an account already");
        assert_eq!(store.stored_password(&name("ann")).await.unwrap(), Some(kept("hash one")));
        let scram = StoredPassword { scram: Some(scram_keys()), ..kept("hash one") };
        store.set_password(&name("ann"), &scram).await.unwrap();
        assert_eq!(store.stored_password(&name("ann")).await.unwrap(), Some(scram));
        store.set_password(&name("ann"), &kept("hash two")).await.unwrap();
        assert_eq!(store.stored_password(&name("ann")).await.unwrap(), Some(kept("hash two")));
        assert_eq!(store.stored_password(&name("bob")).await.unwrap(), None);
        let nobody = store.set_password(&name("bob"), &kept("x")).await;
        assert!(matches!(nobody, Err(AccountError::NoAccount(_))));
        send(&store, &["ann"], pattern(100)).await.unwrap();
        let accounts = store.accounts().await.unwrap();
        let ann = &accounts[0];
        assert_eq!((ann.origin, ann.quota, ann.messages), (Origin::Account, Some(5000), 1));
        assert_eq!(store.remove_account(&name("ann")).await.unwrap(), 1);
        assert!(matches!(store.remove_account(&name("ann")).await, Err(AccountError::NoAccount(_))));
        assert_eq!(kit.rows().await, (0, 0, 0));
        assert!(store.accounts().await.unwrap().is_empty());
        store.close().await;
    }

    async fn a_caught_mailbox_becomes_the_account_of_its_name(kit: Kit) {
        let store = kit.open().await;
        send(&store, &["ann"], "caught").await.unwrap();
        assert_eq!(store.accounts().await.unwrap()[0].origin, Origin::Caught);
        assert_eq!(store.stored_password(&name("ann")).await.unwrap(), None);
        store.close().await;
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        let to_ann = address("ann@example.org");
        assert_eq!(store.route(&to_ann, None).await.unwrap(), Route::Unknown, "caught is no account");
        assert!(matches!(send(&store, &["ann"], "x").await, Err(Error::NoMailbox(_))));
        store.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
        assert_eq!(store.route(&to_ann, None).await.unwrap(), Route::Mailboxes(vec![name("ann")]));
        assert_eq!(bodies(&store, "ann").await, [b"caught"]);
        store.close().await;
    }

    async fn a_command_beside_the_server_takes_effect_at_once(kit: Kit) {
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        let to_ann = address("ann@example.org");
        assert_eq!(store.route(&to_ann, None).await.unwrap(), Route::Unknown);
        let options = pillarbox::store::Options { tenure: Tenure::Command, ..kit.options.clone() };
        let command = Store::open(options).await.unwrap();
        command.add_account(&name("ann"), &kept("hash"), None).await.unwrap();
        assert_eq!(store.route(&to_ann, None).await.unwrap(), Route::Mailboxes(vec![name("ann")]));
        let (one, two) = tokio::join!(send(&store, &["ann"], "one"), send(&command, &["ann"], "two"));
        one.unwrap();
        two.unwrap();
        assert_eq!(bodies(&store, "ann").await.len(), 2);
        command.remove_account(&name("ann")).await.unwrap();
        assert_eq!(store.route(&to_ann, None).await.unwrap(), Route::Unknown);
        command.close().await;
        store.close().await;
        kit.assert_in_order().await;
    }

    async fn aliases_lead_to_accounts_over_other_aliases_and_never_in_a_circle(kit: Kit) {
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        let alias = |from: &str, to: &[&str]| Alias {
            name: match from.strip_prefix('@') {
                Some(of) => AliasName::CatchAll(domain(of)),
                None => AliasName::Address(name(from)),
            },
            targets: to.iter().map(|to| name(to)).collect(),
        };
        for account in ["ann", "bob"] {
            store.add_account(&name(account), &kept("hash"), None).await.unwrap();
        }
        store.add_alias(&alias("team", &["ann", "bob"])).await.unwrap();
        store.add_alias(&alias("all", &["team", "bob"])).await.unwrap();
        store.add_alias(&alias("@example.org", &["all"])).await.unwrap();
        let both = Route::Mailboxes(vec![name("ann"), name("bob")]);
        for to in ["team", "TEAM", "team+tag", "all", "whoever"] {
            let Route::Mailboxes(mut found) = store.route(name(to).address(), None).await.unwrap() else {
                panic!("{to} leads nowhere")
            };
            found.sort_by_key(ToString::to_string);
            assert_eq!(Route::Mailboxes(found), both, "{to}");
        }
        let refusal = async |alias: Alias| store.add_alias(&alias).await.unwrap_err().to_string();
        assert_eq!(refusal(alias("ann", &["bob"])).await, "ann@example.org is an account already");
        assert_eq!(refusal(alias("team", &["bob"])).await, "team@example.org is an alias already");
        assert!(refusal(alias("new", &["who@example.net"])).await.contains("sends no mail on"));
        assert_eq!(refusal(alias("me", &["me"])).await, "the alias me@example.org would lead back to itself");
        let taken = store.add_account(&name("team"), &kept("hash"), None).await.unwrap_err();
        assert!(matches!(taken, AccountError::AliasExists(_)), "{taken}");

        store.remove_account(&name("ann")).await.unwrap();
        let to_team = store.route(name("team").address(), None).await.unwrap();
        assert_eq!(to_team, Route::Mailboxes(vec![name("bob")]), "a target that is gone is skipped");
        assert_eq!(store.aliases().await.unwrap().len(), 3);
        store.remove_alias(&AliasName::CatchAll(domain("example.org"))).await.unwrap();
        assert_eq!(store.route(name("whoever").address(), None).await.unwrap(), Route::Unknown);
        store.remove_alias(&AliasName::Address(name("team"))).await.unwrap();
        assert_eq!(store.route(name("team").address(), None).await.unwrap(), Route::Unknown);
        assert!(matches!(
            store.remove_alias(&AliasName::Address(name("team"))).await,
            Err(AccountError::NoAlias(_))
        ));
        store.close().await;
    }

    // proves: RFC 5321 §4.5.1
    async fn in_closed_mode_only_what_exists_takes_mail_and_the_postmaster_always_does(kit: Kit) {
        kit.options = closed(&kit.options);
        let store = kit.open().await;
        store.add_account(&name("ann"), &kept("hash"), Some(1000)).await.unwrap();
        store.add_account(&name("x@example.net"), &kept("hash"), None).await.unwrap();
        let route = async |to: &str, size| store.route(&address(to), size).await.unwrap();
        let ann = Route::Mailboxes(vec![name("ann")]);
        // The trace lines need room too, 128 octets at the least.
        assert_eq!(route("Ann@EXAMPLE.org", Some(872)).await, ann);
        assert_eq!(route("ann+a+b@example.org", None).await, ann);
        assert_eq!(route("ann@example.org", Some(873)).await, Route::Full(name("ann")));
        assert_eq!(route("ann@example.com", None).await, Route::Foreign);
        assert_eq!(route("x@example.net", None).await, Route::Foreign, "its domain is not listed");
        assert_eq!(route("bob@example.org", None).await, Route::Unknown);
        assert_eq!(route("postmaster@example.com", None).await, Route::Foreign);
        let postmaster = Route::Mailboxes(vec![name("postmaster")]);
        assert_eq!(route("Postmaster@example.org", None).await, postmaster);
        send(&store, &["postmaster"], "help").await.unwrap();
        assert_eq!(route("postmaster@example.org", None).await, postmaster, "made by mail, and still taken");
        store.close().await;
    }

    async fn in_open_mode_every_recipient_exists(kit: Kit) {
        let store = kit.open().await;
        let route = async |store: &Store, to: &str| store.route(&address(to), None).await.unwrap();
        let ann = Route::Mailboxes(vec![name("ann")]);
        assert_eq!(route(&store, "ann+shop@example.org").await, ann);
        assert_eq!(route(&store, "\"any one\"@[127.0.0.1]").await,
            Route::Mailboxes(vec![name("\"any one\"@[127.0.0.1]")]));
        let alias = Alias { name: AliasName::Address(name("info")), targets: vec![name("ann+info")] };
        store.add_alias(&alias).await.unwrap();
        assert_eq!(route(&store, "info@example.org").await, ann);
        send(&store, &["a+b"], "made while tags were off").await.unwrap();
        assert_eq!(route(&store, "a+b@example.org").await, Route::Mailboxes(vec![name("a+b")]));
        store.close().await;
        kit.options.domains = vec![domain("example.org")];
        let store = kit.open().await;
        assert_eq!(kit.options.mode, Mode::Open);
        assert_eq!(route(&store, "ann@example.org").await, ann);
        assert_eq!(route(&store, "ann@example.com").await, Route::Foreign);
        store.close().await;
    }
}

//! What sessions that are logged in may still do when their account is gone.

use super::matrix::base64;
use super::world::{ANN, BOB, PASSWORD, World};
use crate::support::wire::{Pop3, Smtp};

#[test]
fn a_session_of_an_account_that_was_removed_sends_nothing_more_not_even_from_nobody() {
    let world = World::closed();
    let mut smtp = Smtp::open(world.local("submission"));
    let response = base64(format!("\0{ANN}\0{PASSWORD}").as_bytes());
    smtp.expect(&format!("AUTH PLAIN {response}"), 235);
    smtp.expect("MAIL FROM:<>", 250);
    smtp.expect("RSET", 250);
    world.home.succeed(&["account", "remove", ANN], "");
    for from in ["", ANN, "ann+tag@example.org"] {
        let reply = smtp.expect(&format!("MAIL FROM:<{from}>"), 550);
        assert!(reply.text().starts_with("5.7.1 "), "{reply:?}");
    }
    world.home.succeed(&["account", "add", ANN, "--password-stdin"], "another");
    for from in ["", ANN] {
        smtp.expect(&format!("MAIL FROM:<{from}>"), 550);
    }
    smtp.expect("QUIT", 221);
}

#[test]
fn a_pop3_session_gives_way_at_once_when_its_account_was_removed_and_made_again() {
    let world = World::closed();
    let mut ghost = Pop3::open(world.local("pop3"), ANN, PASSWORD);
    world.home.succeed(&["account", "remove", ANN], "");
    world.home.succeed(&["account", "add", ANN, "--password-stdin"], "another");
    let mut own = Pop3::open(world.local("pop3"), ANN, "another");
    own.stat();
    // The line of a session that was evicted ends, whatever it says before.
    ghost.line.rest();
    own.stat();
    own.ok("QUIT");
}

#[test]
fn a_session_goes_on_when_the_password_is_changed_and_the_next_one_needs_the_new_one() {
    let world = World::closed();
    let mut smtp = Smtp::open(world.local("submission"));
    let response = base64(format!("\0{ANN}\0{PASSWORD}").as_bytes());
    smtp.expect(&format!("AUTH PLAIN {response}"), 235);
    let mut pop3 = Pop3::open(world.local("pop3"), BOB, PASSWORD);
    for account in [ANN, BOB] {
        world.home.succeed(&["account", "password", account, "--password-stdin"], "another");
    }
    let sent = smtp.deliver(ANN, BOB, b"Subject: x\r\n\r\nx\r\n");
    assert_eq!(sent.code, 250, "{sent:?}");
    assert_eq!(pop3.stat().0, 0, "the listing is that of the login");
    pop3.ok("QUIT");
    let reply = Smtp::open(world.local("submission")).ask(&format!("AUTH PLAIN {response}"));
    assert_eq!(reply.code, 535, "{reply:?}");
    Pop3::open(world.local("pop3"), BOB, "another").ok("QUIT");
}

#[test]
fn a_pop3_session_of_an_account_that_was_removed_reads_nothing_more() {
    let world = World::closed();
    let mut smtp = Smtp::open(world.local("smtp"));
    for _ in 0..2 {
        assert_eq!(smtp.deliver("a@example.com", ANN, b"Subject: x\r\n\r\nx\r\n").code, 250);
    }
    let mut pop3 = Pop3::open(world.local("pop3"), ANN, PASSWORD);
    world.home.succeed(&["account", "remove", ANN], "");
    pop3.line.say("RETR 1");
    let reply = pop3.line.line();
    assert!(reply.starts_with("-ERR") && reply.contains("does not exist any more"), "{reply}");
    pop3.line.say("DELE 2");
    pop3.line.line();
    pop3.line.say("QUIT");
    pop3.line.line();
    assert!(pop3.line.rest().is_empty());
}

//! What a mail catcher owes to the applications and tests that use it: open mode against the real
//! program.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::Home;
use support::wire::{Pop3, Smtp, mailbox};

#[test]
fn auth_takes_any_name_and_any_password_at_once() {
    let server = Home::new(&[("listen.submission", "127.0.0.1:0")]).serve();
    let long = "x".repeat(300);
    for (user, password) in [
        ("alice@example.org", "secret"),
        (r"CORP\app", "secret"),
        ("two words", "secret"),
        ("a@b@c", "secret"),
        ("x@localhost.", "secret"),
        (&long, "secret"),
        ("", "secret"),
        ("alice", ""),
        ("", ""),
    ] {
        for listener in [server.smtp, server.address("submission").expect("it listens there")] {
            let mut plain = Smtp::open(listener);
            plain.expect(&format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{password}"))), 235);
            plain.envelope("app@client.example", &["bob@example.org"]);
            let mut for_another = Smtp::open(listener);
            let message = STANDARD.encode(format!("boss\0{user}\0{password}"));
            for_another.expect(&format!("AUTH PLAIN {message}"), 235);
            let mut login = Smtp::open(listener);
            login.expect("AUTH LOGIN", 334);
            login.expect(&STANDARD.encode(user), 334);
            login.expect(&STANDARD.encode(password), 235);
        }
    }
    assert!(!server.log().contains("auth failed"), "nothing was held against anybody");
}

#[test]
fn a_login_opens_the_mailbox_that_mail_for_the_same_name_goes_to() {
    let home = Home::new(&[]);
    home.succeed(&["alias", "add", "sales@example.org", "alice@example.org"], "");
    home.succeed(&["alias", "add", "team@example.org", "alice@example.org", "bob@example.org"], "");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let mut deliver = |to: &str| {
        assert_eq!(smtp.deliver("a@client.example", to, b"Subject: x\r\n\r\nx\r\n").code, 250);
    };
    deliver("alice+shop@example.org");
    deliver("dave@example.org");
    for (user, messages) in [
        ("alice@example.org", 1),
        ("alice+shop@example.org", 1),
        ("Alice+other+x@EXAMPLE.org", 1),
        ("sales@example.org", 1),
        ("sales+x@example.org", 1),
        ("team@example.org", 0),
        ("nobody+x@example.org", 0),
        ("dave@example.org", 1),
    ] {
        assert_eq!(mailbox(server.pop3, user).len(), messages, "{user}");
    }
    // The two names are one mailbox, which one session at a time has.
    let mut first = Pop3::open(server.pop3, "alice+shop@example.org", "any");
    let mut second = Pop3::connect(server.pop3);
    second.ok("USER alice@example.org");
    assert!(second.err("PASS any").starts_with("-ERR [IN-USE]"));
    first.ok("QUIT");
    // What was caught before there was an alias stays in reach.
    home.succeed(&["alias", "add", "dave@example.org", "alice@example.org"], "");
    deliver("dave@example.org");
    assert_eq!(mailbox(server.pop3, "dave@example.org").len(), 1);
    assert_eq!(mailbox(server.pop3, "alice@example.org").len(), 2);
}

#[test]
fn text_without_a_header_stays_text_and_nobody_writes_into_our_trace_lines() {
    let home = Home::new(&[]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let parcels = "Received: 5 parcels\r\n".repeat(120);
    let long = format!("Hello\r\n{}", "a line of a letter\r\n".repeat(60_000));
    for (number, (sent, between)) in [
        ("Hello Bob,\r\nyour code: 4711\r\n\r\nBye\r\n", ""),
        ("\tfor <bob@example.org>; Mon, 1 Jan 1990 00:00:00 +0000\r\n", "\r\n"),
        (&format!("We have\r\n{parcels}"), ""),
        (&long, ""),
        ("Subject: x\r\n\r\nx\r\n", ""),
        ("\r\nno field: at all\r\n", ""),
        ("Subject: Password reset\r\nYour code is 4711\r\n", ""),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            smtp.deliver("a@client.example", "bob@example.org", sent.as_bytes()).code,
            250,
            "{number}"
        );
        let kept = mailbox(server.pop3, "bob@example.org").pop().expect("it is there");
        let (head, body) = kept.split_at(kept.len() - sent.len());
        assert!(body == sent.as_bytes(), "{number}: the octets that were sent");
        assert!(head.starts_with(b"Return-Path: <a@client.example>\r\n"), "{number}");
        assert!(head.ends_with(format!("+0000\r\n{between}").as_bytes()), "{number}");
        let shown = home.succeed(&["message", "show", "bob@example.org", &(number + 1).to_string()], "");
        let mut lines = sent.lines().map(str::trim).filter(|line| !line.is_empty());
        let (first, last) = (lines.next().expect("a line"), lines.next_back().unwrap_or_default());
        assert!(shown.contains(first) && shown.contains(last), "{number}: {shown:.2000}");
    }
}

#[test]
fn a_mailbox_whose_name_has_a_tag_is_opened_by_its_whole_name() {
    let mut home = Home::new(&[("accounts.tag_separator", "")]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let message = b"Subject: x\r\n\r\nx\r\n";
    assert_eq!(smtp.deliver("a@client.example", "alice+shop@example.org", message).code, 250);
    assert_eq!(mailbox(server.pop3, "alice+shop@example.org").len(), 1);
    assert!(server.stop().status.success());
    home.set("accounts.tag_separator", "+");
    let server = home.serve();
    assert_eq!(mailbox(server.pop3, "alice+shop@example.org").len(), 1);
    assert_eq!(mailbox(server.pop3, "alice+other@example.org").len(), 0);
}

#[test]
fn a_user_name_that_is_no_address_opens_a_mailbox_of_that_name() {
    let server = Home::new(&[("hostname", "mail.example.org")]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let message = b"Subject: x\r\n\r\nx\r\n";
    assert_eq!(smtp.deliver("a@client.example", r#""two words"@mail.example.org"#, message).code, 250);
    assert_eq!(mailbox(server.pop3, "two words").len(), 1);
    for (message, messages) in [("two words\0ann\0", 1), ("\0ann\0", 0)] {
        let mut pop3 = Pop3::connect(server.pop3);
        pop3.ok(&format!("AUTH PLAIN {}", STANDARD.encode(message)));
        assert_eq!(pop3.stat().0, messages, "{message:?}");
        pop3.ok("QUIT");
    }
    let mut pop3 = Pop3::connect(server.pop3);
    assert!(pop3.err(&format!("AUTH PLAIN {}", STANDARD.encode("\0\0x"))).starts_with("-ERR [AUTH]"));
}

#[test]
fn a_mailbox_that_mail_has_not_made_yet_is_empty_in_open_mode_and_unknown_in_closed_mode() {
    const LIST: [&str; 3] = ["message", "list", "a@example.org"];
    const LIST_JSON: [&str; 4] = ["message", "list", "a@example.org", "--json"];
    const SHOW: [&str; 4] = ["message", "show", "a@example.org", "1"];
    let open = Home::new(&[]);
    let closed = Home::closed(&[]);
    let refused = |home: &Home, command: &[&str], reason: &str| {
        let output = home.run(command, "");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{command:?}");
        assert!(told.contains(reason), "{command:?}: {told}");
    };
    for database in [false, true] {
        if database {
            for home in [&open, &closed] {
                home.succeed(&["account", "add", "b@example.org", "--password-stdin"], "x");
            }
        }
        assert_eq!(open.succeed(&LIST, ""), "NUMBER  DATE  FROM  SUBJECT  OCTETS  ATTACHMENTS\n");
        assert_eq!(open.succeed(&LIST_JSON, ""), "[]\n");
        refused(&open, &SHOW, "there is no message 1: the mailbox is empty");
        for command in [&LIST[..], &LIST_JSON, &SHOW] {
            refused(&closed, command, "there is no mailbox a@example.org");
        }
    }
}

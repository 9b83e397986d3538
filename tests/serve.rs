//! The life of a server as an operator sees it: how it starts, what it says, how it ends.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use rustix::process::Signal;
use std::net::TcpStream;
use support::wire::{Line, Pop3, Smtp, mailbox, without_trace};
use support::{DEADLINE, Home};

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHello\r\n";

#[test]
fn the_ready_line_tells_the_addresses_that_are_bound() {
    let server = Home::new(&[("listen.smtp", "127.0.0.1:0,127.0.0.1:0")]).serve();
    let words: Vec<&str> = server.ready.split_whitespace().collect();
    assert_eq!(words.len(), 3, "{}", server.ready);
    assert_eq!(words[0], "ready");
    let smtp: Vec<&str> = words[1].strip_prefix("smtp=").expect("smtp first").split(',').collect();
    assert_eq!(smtp.len(), 2, "{}", server.ready);
    for address in smtp {
        assert!(!address.ends_with(":0"), "a port that was picked, not 0: {address}");
        let mut client = Smtp::open(address.parse().expect("an address"));
        client.expect("QUIT", 221);
    }
    assert!(words[2].starts_with("pop3=127.0.0.1:"), "{}", server.ready);
    Pop3::connect(server.pop3).ok("QUIT");
}

#[test]
fn without_listeners_for_a_protocol_it_is_not_spoken() {
    let server = Home::new(&[("listen.pop3", "")]).serve();
    assert!(!server.ready.contains("pop3="), "{}", server.ready);
    Smtp::open(server.smtp).expect("QUIT", 221);
}

#[test]
fn a_stop_tells_idle_sessions_and_ends_with_success() {
    let home = Home::new(&[]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let mut pop3 = Pop3::open(server.pop3, "bob@example.org", "any");
    let mut new = Pop3::connect(server.pop3);
    server.signal(Signal::TERM);
    assert_eq!(smtp.reply().code, 421);
    assert_eq!(smtp.line.rest(), b"");
    for session in [&mut pop3, &mut new] {
        let goodbye = session.line.line();
        assert!(goodbye.starts_with("-ERR [SYS/TEMP]"), "{goodbye}");
        assert_eq!(session.line.rest(), b"");
    }
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn sigint_stops_like_sigterm() {
    let server = Home::new(&[]).serve();
    server.signal(Signal::INT);
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_stop_lets_a_message_under_way_finish_and_keeps_it() {
    let home = Home::new(&[]);
    let server = home.serve();
    let address = server.smtp;
    let mut smtp = Smtp::open(address);
    let mut idle = Smtp::open(address);
    smtp.envelope("alice@client.example", &["bob@example.org"]);
    smtp.expect("DATA", 354);
    smtp.line.send(b"Subject: slow\r\n\r\nfirst half\r\n");
    server.signal(Signal::TERM);
    // The idle session has heard of the stop, so the server has.
    assert_eq!(idle.reply().code, 421);
    smtp.line.send(b"second half\r\n.\r\n");
    assert_eq!(smtp.reply().code, 250);
    assert_eq!(smtp.reply().code, 421);
    assert_eq!(smtp.line.rest(), b"");
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    assert!(TcpStream::connect_timeout(&address, DEADLINE).is_err(), "nobody listens any more");

    let server = home.serve();
    let kept = mailbox(server.pop3, "bob@example.org");
    assert_eq!(kept.len(), 1);
    assert_eq!(without_trace(&kept[0]), b"Subject: slow\r\n\r\nfirst half\r\nsecond half\r\n");
}

#[test]
fn a_stop_lets_a_message_in_chunks_finish() {
    let home = Home::new(&[]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let mut idle = Smtp::open(server.smtp);
    smtp.envelope("alice@client.example", &["bob@example.org"]);
    smtp.line.send(b"BDAT 7\r\nfirst\r\n");
    assert_eq!(smtp.reply().code, 250);
    server.signal(Signal::TERM);
    assert_eq!(idle.reply().code, 421);
    smtp.line.send(b"BDAT 8\r\nsecond\r\n");
    assert_eq!(smtp.reply().code, 250);
    smtp.line.send(b"BDAT 7 LAST\r\nthird\r\n");
    assert_eq!(smtp.reply().code, 250);
    assert_eq!(smtp.reply().code, 421);
    let ended = server.wait();
    assert!(ended.status.success(), "{ended:?}");
    let kept = mailbox(home.serve().pop3, "bob@example.org");
    assert_eq!(without_trace(&kept[0]), b"first\r\nsecond\r\nthird\r\n");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let mut idle = Smtp::open(server.smtp);
    smtp.envelope("alice@client.example", &["bob@example.org"]);
    smtp.expect("DATA", 354);
    server.signal(Signal::TERM);
    assert_eq!(idle.reply().code, 421);
    let before = std::time::Instant::now();
    server.signal(Signal::TERM);
    server.wait();
    assert!(before.elapsed() < std::time::Duration::from_secs(10), "without the 30 s of patience");
}

/// The shell that starts the server sends its log elsewhere first.
fn with_log_to(redirection: &str) -> Home {
    let mut home = Home::new(&[]);
    home.wrap(&["sh", "-c", &format!("exec 2{redirection}; exec \"$@\""), "sh"]);
    home
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let server = with_log_to(">/dev/full").serve();
    let mut smtp = Smtp::open(server.smtp);
    for _ in 0..3 {
        smtp.deliver("alice@client.example", "bob@example.org", MESSAGE);
    }
    assert_eq!(mailbox(server.pop3, "bob@example.org").len(), 3);
    assert!(server.stop().status.success());
}

#[test]
fn a_log_that_nobody_reads_makes_nobody_wait() {
    // More lines than a pipe holds: 64 KiB of some 180 octets each.
    const MESSAGES: usize = 500;
    let home = with_log_to("<>unread");
    let fifo = home.path().join("unread");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    for _ in 0..MESSAGES {
        smtp.deliver("alice@client.example", "bob@example.org", MESSAGE);
    }
    assert!(server.stop().status.success());
}

#[test]
fn an_ephemeral_server_leaves_nothing_behind() {
    let mut home = Home::new(&[]);
    let temporary = home.path().join("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let never = home.path().join("never");
    home.keep_data_in(&never);
    let mut command = home.command(&["serve", "--ephemeral"]);
    command.env("TMPDIR", &temporary);
    let server = support::Server::start_command(command);
    Smtp::open(server.smtp).deliver("alice@client.example", "bob@example.org", MESSAGE);
    assert_eq!(mailbox(server.pop3, "bob@example.org").len(), 1);
    assert_eq!(std::fs::read_dir(&temporary).expect("a directory").count(), 1, "its data lies in TMPDIR");
    let told = server.wait_for_log(&["INFO", "the mail is kept here until the server ends", "data_dir="]);
    let (_, data_dir) = told.rsplit_once("data_dir=").expect("the directory");
    home.succeed(&["ready", "--data-dir", data_dir], "");
    let listed = home.succeed(&["message", "list", "bob@example.org", "--data-dir", data_dir], "");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(std::fs::read_dir(&temporary).expect("a directory").count(), 0);
    assert!(!never.exists());
}

#[test]
fn two_servers_never_share_a_data_directory() {
    let home = Home::new(&[]);
    let first = home.serve();
    let second = home.serve_in_vain();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let reason = second.log.trim();
    assert!(reason.contains(&home.data_dir().display().to_string()), "names the directory: {reason}");
    Smtp::open(first.smtp).deliver("a@client.example", "bob@example.org", MESSAGE);
    assert!(first.stop().status.success());
    assert!(home.serve().stop().status.success(), "a lock does not outlive its server");
}

#[test]
fn a_port_in_use_is_said_in_one_line() {
    let first = Home::new(&[]).serve();
    let taken = first.smtp.to_string();
    let second = Home::new(&[("listen.smtp", &taken)]).serve_in_vain();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    assert!(second.log.contains(&taken), "names the address: {}", second.log);
}

#[test]
fn a_data_directory_that_everybody_may_write_to_is_told_of() {
    let home = Home::new(&[]);
    std::fs::create_dir(home.data_dir()).expect("made");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(home.data_dir(), mode).expect("set");
    let ended = home.serve().stop();
    assert!(ended.log.contains("can be written to by every user of this machine: chmod 0700"), "{ended:?}");
}

#[test]
fn the_data_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new(&[]);
    let server = home.serve();
    Smtp::open(server.smtp).deliver("a@client.example", "bob@example.org", MESSAGE);
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    assert_eq!(mode(home.data_dir()), 0o700);
    for entry in std::fs::read_dir(home.data_dir()).expect("a directory").flatten() {
        assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
    }
    assert!(home.data_dir().join("pillarbox.db").is_file());
}

#[test]
fn accounts_and_aliases_take_effect_at_once() {
    let home = Home::closed(&[("alice@example.org", "first secret")]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect("MAIL FROM:<x@client.example>", 250);
    let unknown = smtp.expect("RCPT TO:<bob@example.org>", 550);
    assert!(unknown.text().starts_with("5.1.1 "), "{unknown:?}");

    home.succeed(&["account", "add", "bob@example.org", "--password-stdin"], "hunter2");
    smtp.expect("RCPT TO:<bob@example.org>", 250);
    assert_eq!(smtp.data(MESSAGE).code, 250);
    let mut pop3 = Pop3::open(server.pop3, "bob@example.org", "hunter2");
    assert_eq!(pop3.stat().0, 1);
    pop3.ok("QUIT");

    home.succeed(&["alias", "add", "sales@example.org", "alice@example.org", "bob@example.org"], "");
    assert_eq!(smtp.deliver("x@client.example", "sales@example.org", MESSAGE).code, 250);
    for (user, password, messages) in
        [("alice@example.org", "first secret", 1), ("bob@example.org", "hunter2", 2)]
    {
        let mut pop3 = Pop3::open(server.pop3, user, password);
        assert_eq!(pop3.stat().0, messages, "{user}");
        pop3.ok("QUIT");
    }

    home.succeed(&["account", "password", "alice@example.org", "--password-stdin"], "second secret");
    let mut old = Pop3::connect(server.pop3);
    old.ok("USER alice@example.org");
    assert!(old.err("PASS first secret").starts_with("-ERR [AUTH]"));
    Pop3::open(server.pop3, "alice@example.org", "second secret").ok("QUIT");

    home.succeed(&["alias", "remove", "sales@example.org"], "");
    home.succeed(&["account", "remove", "bob@example.org"], "");
    smtp.expect("MAIL FROM:<x@client.example>", 250);
    smtp.expect("RCPT TO:<sales@example.org>", 550);
    smtp.expect("RCPT TO:<bob@example.org>", 550);
}

#[test]
fn an_alias_may_lead_to_an_address_with_a_tag_where_mail_for_it_would_find_its_way() {
    let home = Home::closed(&[("bob@example.org", "b"), ("own+tag@example.org", "o")]);
    let server = home.serve();
    home.succeed(&["alias", "add", "shop@example.org", "bob+shop@example.org"], "");
    home.succeed(&["alias", "add", "shops@example.org", "shop+all@example.org"], "");
    home.succeed(&["alias", "add", "own@example.org", "own+tag@example.org"], "");
    let mut smtp = Smtp::open(server.smtp);
    for to in ["shop@example.org", "shops@example.org", "own@example.org"] {
        assert_eq!(smtp.deliver("a@client.example", to, MESSAGE).code, 250, "{to}");
    }
    assert_eq!(Pop3::open(server.pop3, "bob@example.org", "b").stat().0, 2);
    assert_eq!(Pop3::open(server.pop3, "own+tag@example.org", "o").stat().0, 1);
    let listed = home.succeed(&["alias", "list"], "");
    assert!(listed.contains("bob+shop@example.org\n"), "as it was written: {listed}");
    for (alias, target, reason) in [
        ("x@example.org", "nobody+tag@example.org", "neither an account nor an alias"),
        ("x@example.org", "x+tag@example.org", "would lead back to itself"),
        ("x@example.org", "bob-tag@example.org", "neither an account nor an alias"),
    ] {
        let refused = home.run(&["alias", "add", alias, target], "");
        assert_eq!(refused.status.code(), Some(1), "{alias} {target}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains(reason), "{alias} {target}: {told}");
    }

    let removed = home.succeed(&["account", "remove", "bob@example.org"], "");
    assert!(removed.contains("the alias shop@example.org still names it; remove that too"), "{removed}");
    assert!(!removed.contains("shops@") && !removed.contains("own@"), "{removed}");
    let listed = home.succeed(&["alias", "list"], "");
    assert!(listed.contains("bob+shop@example.org\n"), "it stays: {listed}");
    smtp.expect("MAIL FROM:<a@client.example>", 250);
    smtp.expect("RCPT TO:<shop@example.org>", 550);
    smtp.expect("RCPT TO:<shops@example.org>", 550);
    smtp.expect("RCPT TO:<own@example.org>", 250);
    let removed = home.succeed(&["account", "remove", "own+tag@example.org"], "");
    assert!(removed.contains("the alias own@example.org still names it"), "{removed}");
}

#[test]
fn a_closed_server_takes_mail_for_its_own_alone() {
    let home = Home::closed(&[("alice@example.org", "secret")]);
    home.succeed(&["alias", "add", "@example.org", "alice@example.org"], "");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect("MAIL FROM:<x@client.example>", 250);
    let foreign = smtp.expect("RCPT TO:<bob@elsewhere.example>", 550);
    assert!(foreign.text().starts_with("5.7.1 "), "{foreign:?}");
    for relay in ["bob%elsewhere.example@other.example", "\"bob@elsewhere.example\"@other.example"] {
        smtp.expect(&format!("RCPT TO:<{relay}>"), 550);
    }
    smtp.expect("RCPT TO:<@example.org:bob@elsewhere.example>", 550);
    for ours in ["ALICE@Example.ORG", "alice+shop@example.org", "anyone@example.org"] {
        smtp.expect(&format!("RCPT TO:<{ours}>"), 250);
    }
    assert_eq!(smtp.data(MESSAGE).code, 250);
    let mut pop3 = Pop3::open(server.pop3, "alice@example.org", "secret");
    assert_eq!(pop3.stat().0, 1, "one message, however many of the addresses lead here");
}

#[test]
fn a_mailbox_over_its_quota_is_told_at_rcpt() {
    let home = Home::closed(&[]);
    home.succeed(&["account", "add", "bob@example.org", "--password-stdin", "--quota", "2 KiB"], "secret");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let body = [MESSAGE, "x".repeat(1500).as_bytes(), b"\r\n"].concat();
    assert_eq!(smtp.deliver("x@client.example", "bob@example.org", &body).code, 250);
    smtp.expect("MAIL FROM:<x@client.example> SIZE=1500", 250);
    let full = smtp.expect("RCPT TO:<bob@example.org>", 452);
    assert!(full.text().starts_with("4.2.2 "), "{full:?}");
}

#[test]
fn a_mailbox_that_is_nearly_full_refuses_no_message_for_others() {
    let home = Home::closed(&[("alice@example.org", "secret")]);
    home.succeed(&["account", "add", "bob@example.org", "--password-stdin", "--quota", "4 KiB"], "secret");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let body = [MESSAGE, "x".repeat(2000).as_bytes(), b"\r\n"].concat();
    assert_eq!(smtp.deliver("x@client.example", "bob@example.org", &body).code, 250);
    assert_eq!(smtp.deliver("x@client.example", "bob@example.org", &body).code, 452, "it is the only one");
    smtp.envelope("x@client.example", &["alice@example.org", "bob@example.org"]);
    assert_eq!(smtp.data(&body).code, 250);
    for (user, messages) in [("alice@example.org", 1), ("bob@example.org", 2)] {
        assert_eq!(Pop3::open(server.pop3, user, "secret").stat().0, messages, "{user}");
    }
    smtp.expect("MAIL FROM:<x@client.example>", 250);
    smtp.expect("RCPT TO:<bob@example.org>", 452);
}

#[test]
fn an_open_server_on_the_network_must_be_asked_for() {
    let mut home = Home::new(&[("listen.smtp", "0.0.0.0:0")]);
    let ended = home.serve_in_vain();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.log.to_lowercase().contains("allow_open_on_network"), "says what to write: {}", ended.log);
    home.set("accounts.allow_open_on_network", "true");
    assert!(home.serve().stop().status.success());
}

/// Runs every way in which a password passes through the program, in one format of the log.
fn log_of_logins(format: &str) -> String {
    let mut home = Home::closed(&[("alice@example.org", "right-secret")]);
    home.set("log.format", format);
    home.set("log.filter", "trace");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    assert_eq!(smtp.deliver("x@client.example", "alice@example.org", MESSAGE).code, 250);
    smtp.expect("MAIL FROM:<x@client.example>", 250);
    smtp.expect("RCPT TO:<nobody@example.org>", 550);
    Pop3::open(server.pop3, "alice@example.org", "right-secret").ok("QUIT");
    let mut wrong = Pop3::connect(server.pop3);
    wrong.ok("USER alice@example.org");
    wrong.err("PASS wrong-secret");
    let mut early = Pop3::connect(server.pop3);
    early.err("PASS early-secret");
    early.ask("PASSS typo-secret");
    home.succeed(&["account", "add", "bob@example.org", "--password-stdin"], "added-secret");
    let ended = server.stop();
    assert!(ended.status.success());
    ended.log
}

#[test]
fn the_log_as_text_tells_messages_logins_and_refusals_and_no_password() {
    let log = log_of_logins("text");
    assert!(!log.contains("-secret"), "a password stands in the log:\n{log}");
    let has = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        has(&["x@client.example", "alice@example.org", "127.0.0.1"]) || has(&["x@client.example"]),
        "{log}"
    );
    assert!(has(&["login", "alice@example.org", "127.0.0.1"]), "a login, with its address:\n{log}");
    assert!(has(&["fail", "alice@example.org", "127.0.0.1"]), "a failed login, with its address:\n{log}");
    assert!(has(&["nobody@example.org"]), "a refused recipient:\n{log}");
    assert!(!log.contains('\u{1b}'), "no colours in a log that is not a terminal");
}

#[test]
fn the_log_as_json_is_one_object_a_line_and_holds_no_password() {
    let log = log_of_logins("json");
    assert!(!log.contains("-secret"), "a password stands in the log:\n{log}");
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(object.is_object(), "{line}");
    }
    assert!(log.contains("alice@example.org"), "{log}");
}

#[test]
fn what_a_peer_says_cannot_forge_a_line_of_the_log() {
    let server = Home::new(&[("log.filter", "debug")]).serve();
    let mut line = Line::connect(server.smtp);
    line.line();
    line.send(b"EHLO a\x1b[31m\rforged login user=root\r\n");
    line.line();
    line.send(b"MAIL FROM:<\"a\x1b[2J\"@client.example>\r\nQUIT\r\n");
    line.rest();
    let name = "\"x ip=192.0.2.1\u{2028}\u{202e}\"@client.example";
    drop(Pop3::open(server.pop3, name, "any"));
    let ended = server.stop();
    assert!(ended.log.contains(r#"user="\"x ip=192.0.2.1\u{2028}"#), "{:?}", ended.log);
    assert!(!ended.log.contains('\u{2028}') && !ended.log.contains('\u{202e}'), "{:?}", ended.log);
    assert!(!ended.log.contains('\u{1b}'), "{:?}", ended.log);
    assert!(!ended.log.contains("\rforged"), "{:?}", ended.log);
}

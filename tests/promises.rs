//! The promises that users stake their mail on, each shown against the real program, one test or a
//! few for each number of the list in README.md.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;
use support::corpus::{self, Sample};
use support::wire::{Line, Pop3, Smtp, mailbox, same, without_trace};
use support::{Home, Server};

const BOB: &str = "bob@example.org";

/// Delivers so many small messages to Bob.
fn deliver(server: &Server, subjects: &[&str]) {
    let mut smtp = Smtp::open(server.smtp);
    for subject in subjects {
        let message = format!("Subject: {subject}\r\n\r\nbody of {subject}\r\n");
        assert_eq!(smtp.deliver("alice@client.example", BOB, message.as_bytes()).code, 250);
    }
    smtp.expect("QUIT", 221);
}

#[test]
fn promise_1_what_was_accepted_survives_a_crash_and_the_rest_is_not_there() {
    let home = Home::new(&[]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let large = corpus::of_octets(1 << 20);
    for sample in [&corpus::plain(), &large] {
        assert_eq!(smtp.deliver("alice@client.example", BOB, &sample.message).code, 250);
    }
    // A third one, large enough to be on the disk in part, is never ended.
    smtp.envelope("alice@client.example", &[BOB]);
    smtp.expect("DATA", 354);
    smtp.line.send(&large.message);
    let mut probe = Smtp::open(server.smtp);
    assert_eq!(probe.deliver("alice@client.example", "eve@example.org", &large.message).code, 250);
    server.kill();

    let server = home.serve();
    let kept = mailbox(server.pop3, BOB);
    assert_eq!(kept.len(), 2);
    same(without_trace(&kept[0]), &corpus::plain().message, "the small message");
    same(without_trace(&kept[1]), &large.message, "the large message");
    assert_eq!(mailbox(server.pop3, "eve@example.org").len(), 1);
}

#[test]
fn promise_1_all_recipients_get_a_message_or_none_does() {
    let home = Home::closed(&[("alice@example.org", "secret")]);
    home.succeed(&["account", "add", BOB, "--password-stdin", "--quota", "1 KiB"], "secret");
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.envelope("x@client.example", &["alice@example.org", BOB]);
    let too_large_for_bob = corpus::of_octets(4096);
    let refused = smtp.data(&too_large_for_bob.message);
    assert_eq!(refused.code / 100, 4, "{refused:?}");
    assert_eq!(Pop3::open(server.pop3, "alice@example.org", "secret").stat(), (0, 0));
    assert_eq!(Pop3::open(server.pop3, BOB, "secret").stat(), (0, 0));
}

#[test]
fn promise_2_retr_gives_back_the_octets_that_were_sent_by_data_and_by_bdat() {
    let server = Home::new(&[]).serve();
    let mut samples: Vec<Sample> = corpus::small();
    samples.push(corpus::all_octets());
    samples.push(Sample { name: "nothing at all", message: Vec::new() });
    samples.push(corpus::large());
    let mut smtp = Smtp::open(server.smtp);
    for sample in &samples {
        let reply = smtp.deliver("alice@client.example", BOB, &sample.message);
        assert_eq!(reply.code, 250, "{}: {reply:?}", sample.name);
        smtp.envelope("alice@client.example", &["carol@example.org"]);
        let (first, second) = sample.message.split_at(sample.message.len() / 3);
        smtp.line.send(&[format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat());
        assert_eq!(smtp.reply().code, 250);
        smtp.line.send(&[format!("BDAT {} LAST\r\n", second.len()).as_bytes(), second].concat());
        assert_eq!(smtp.reply().code, 250, "{}", sample.name);
    }
    for user in [BOB, "carol@example.org"] {
        let kept = mailbox(server.pop3, user);
        assert_eq!(kept.len(), samples.len());
        for (got, want) in kept.iter().zip(&samples) {
            same(without_trace(got), &want.message, want.name);
        }
    }
}

#[test]
fn promise_2_every_size_is_the_size_of_what_is_sent() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    let samples = corpus::small();
    for sample in &samples {
        assert_eq!(smtp.deliver("alice@client.example", BOB, &sample.message).code, 250);
    }
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    let (messages, octets) = pop3.stat();
    assert_eq!(messages, samples.len() as u64);
    let listed = String::from_utf8(pop3.body("LIST").1).expect("ASCII");
    let listed: Vec<u64> =
        listed.lines().map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(listed.iter().sum::<u64>(), octets);
    for (number, size) in (1..).zip(&listed) {
        assert_eq!(pop3.ok(&format!("LIST {number}")).trim_end(), format!("+OK {number} {size}"));
        let (first, body) = pop3.body(&format!("RETR {number}"));
        assert_eq!(body.len() as u64, *size, "message {number}");
        assert_eq!(first.split(' ').nth(1), Some(size.to_string().as_str()), "{first}");
    }
}

#[test]
fn promise_3_a_message_is_gone_after_the_ok_of_quit_and_not_before() {
    let home = Home::new(&[]);
    let server = home.serve();
    deliver(&server, &["one", "two", "three"]);
    let mut dropped = Pop3::open(server.pop3, BOB, "any");
    dropped.ok("DELE 1");
    dropped.ok("DELE 2");
    dropped.line.half_close();
    assert_eq!(dropped.line.rest(), b"", "a connection without QUIT ends without a word");
    assert_eq!(mailbox(server.pop3, BOB).len(), 3);

    let mut killed = Pop3::open(server.pop3, BOB, "any");
    killed.ok("DELE 1");
    server.kill();
    let server = home.serve();
    assert_eq!(mailbox(server.pop3, BOB).len(), 3);

    let mut quitting = Pop3::open(server.pop3, BOB, "any");
    quitting.ok("DELE 1");
    quitting.ok("DELE 3");
    quitting.ok("QUIT");
    server.kill();
    let server = home.serve();
    let left = mailbox(server.pop3, BOB);
    assert_eq!(left.len(), 1);
    assert!(left[0].ends_with(b"body of two\r\n"));
}

/// A client that sends everything at once, and reads nothing.
fn ask_and_wait(socket: &Path, user: &str) -> UnixStream {
    let mut client = UnixStream::connect(socket).unwrap();
    let words = format!("USER {user}\r\nPASS any\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n");
    client.write_all(words.as_bytes()).unwrap();
    client
}

/// What it finds when the server has ended its session.
fn read_late(server: &Server, client: &mut UnixStream, user: &str) -> Vec<u8> {
    let login = server.wait_for_log(&["pop3{", "login", &format!("{user:?}")]);
    let session = login.split_whitespace().find(|word| word.starts_with("pop3{session=")).unwrap();
    server.wait_for_log(&["session ended", &format!("{session} ")]);
    let mut got = Vec::new();
    // The server may have closed on octets that it did not read.
    let _ = client.read_to_end(&mut got);
    got
}

#[test]
fn promise_3_a_message_whose_end_could_not_be_sent_is_still_there() {
    let mut home = Home::new(&[("limits.pop3_timeout", "1s")]);
    let socket = home.path().join("pop3.sock");
    home.set("listen.pop3", &format!("127.0.0.1:0,unix:{}", socket.display()));
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    // Somewhere in between is what the kernel takes while nobody reads; the last octets of a message are the
    // last that the server holds itself, and it holds 32 KiB at most.
    let mut clients = Vec::new();
    for octets in (3..29).map(|n| n * 16 * 1024) {
        let user = format!("u{octets}@example.org");
        let body = format!("{}\r\n", "x".repeat(62)).repeat(octets / 64);
        assert_eq!(smtp.deliver("a@client.example", &user, body.as_bytes()).code, 250);
        clients.push((ask_and_wait(&socket, &user), user));
    }
    let mut whole = Vec::new();
    for (client, user) in &mut clients {
        let got = read_late(&server, client, user);
        let is_whole = got.windows(5).any(|five| five == b"\r\n.\r\n");
        let left = mailbox(server.pop3, user).len();
        assert!(is_whole || left == 1, "{user}: deleted, and {} octets came", got.len());
        whole.push(is_whole);
    }
    assert!(whole.contains(&true) && whole.contains(&false), "no size is at the bound: {whole:?}");
}

#[test]
fn promise_4_a_uidl_never_changes_and_is_never_used_again() {
    let home = Home::new(&[]);
    let server = home.serve();
    let uidls = |server: &Server| -> Vec<String> {
        let mut pop3 = Pop3::open(server.pop3, BOB, "any");
        let (_, lines) = pop3.body("UIDL");
        pop3.ok("QUIT");
        let lines = String::from_utf8(lines).expect("ASCII");
        lines.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    deliver(&server, &["one", "two", "three"]);
    let first = uidls(&server);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "{first:?}");
    // The last one goes, and with it all that a highest number could be remembered by.
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    pop3.ok("DELE 2");
    pop3.ok("DELE 3");
    pop3.ok("QUIT");
    assert!(server.stop().status.success());
    let server = home.serve();
    deliver(&server, &["four"]);
    let second = uidls(&server);
    assert_eq!(second[0], first[0]);
    assert!(!first.contains(&second[1]), "{second:?} after {first:?}");
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    pop3.ok("DELE 1");
    pop3.ok("DELE 2");
    pop3.ok("QUIT");
    deliver(&server, &["five"]);
    let third = uidls(&server);
    assert!(!first.contains(&third[0]) && !second.contains(&third[0]), "{third:?}");
    for uidl in [first, second, third].concat() {
        assert!((1..=70).contains(&uidl.len()) && uidl.bytes().all(|c| (0x21..=0x7e).contains(&c)), "{uidl}");
    }
}

#[test]
fn promise_4_numbers_are_fixed_for_a_session_while_mail_comes_and_goes() {
    let server = Home::new(&[]).serve();
    deliver(&server, &["one", "two"]);
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    deliver(&server, &["three"]);
    pop3.ok("DELE 1");
    assert_eq!(pop3.stat().0, 1);
    assert!(pop3.body("RETR 2").1.ends_with(b"body of two\r\n"));
    pop3.err("RETR 1");
    pop3.err("RETR 3");
    pop3.ok("QUIT");
    assert_eq!(mailbox(server.pop3, BOB).len(), 2);
}

#[test]
fn promise_5_a_second_session_is_told_that_the_mailbox_is_in_use() {
    let server = Home::new(&[]).serve();
    deliver(&server, &["one"]);
    let mut first = Pop3::open(server.pop3, BOB, "any");
    let mut second = Pop3::connect(server.pop3);
    second.ok("USER Bob@EXAMPLE.org");
    let refused = second.err("PASS any");
    assert!(refused.starts_with("-ERR [IN-USE]"), "{refused}");
    Pop3::open(server.pop3, "carol@example.org", "any").ok("QUIT");
    first.ok("NOOP");
    first.ok("QUIT");
    second.ok("USER bob@example.org");
    second.ok("PASS any");
    second.ok("QUIT");
    // A connection that breaks gives the mailbox back too.
    let broken = Pop3::open(server.pop3, BOB, "any");
    broken.line.stream().shutdown(std::net::Shutdown::Both).expect("it was open");
    let until = Instant::now() + support::DEADLINE;
    loop {
        let mut next = Pop3::connect(server.pop3);
        next.ok("USER bob@example.org");
        if next.ask("PASS any").starts_with("+OK") {
            break;
        }
        assert!(Instant::now() < until, "the lease of a broken connection is not given back");
    }
}

/// Waits for the whole minute that the promise names: the clock of the real program cannot be moved.
#[test]
#[ignore = "takes over a minute; tests/run runs it"]
fn promise_5_a_session_silent_for_a_minute_gives_way_and_deletes_nothing() {
    let server = Home::new(&[]).serve();
    deliver(&server, &["one", "two"]);
    let mut silent = Pop3::open(server.pop3, BOB, "any");
    silent.ok("DELE 1");
    let since = Instant::now();
    let mut next = loop {
        let mut next = Pop3::connect(server.pop3);
        next.ok("USER bob@example.org");
        if next.ask("PASS any").starts_with("+OK") {
            break next;
        }
        assert!(since.elapsed().as_secs() < 90, "the silent session was not evicted");
        std::thread::park_timeout(std::time::Duration::from_secs(1));
    };
    assert!(since.elapsed().as_secs() >= 59, "evicted after {:?}", since.elapsed());
    assert_eq!(next.stat().0, 2, "the evicted session has deleted nothing");
    let goodbye = silent.line.rest();
    assert!(goodbye.is_empty() || goodbye.starts_with(b"-ERR"), "{goodbye:?}");
    next.ok("QUIT");
}

#[test]
fn promise_6_one_session_that_misbehaves_leaves_the_others_alone() {
    let mut server = Home::new(&[]).serve();
    let mut good = Smtp::open(server.smtp);
    let mut noise: Vec<Line> = Vec::new();
    for seed in 0..64_u64 {
        let mut line = Line::connect(if seed % 2 == 0 { server.smtp } else { server.pop3 });
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let junk: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .take(16 * 1024)
        .collect();
        line.try_send(&junk);
        noise.push(line);
    }
    for _ in 0..10 {
        assert_eq!(good.deliver("alice@client.example", BOB, &corpus::plain().message).code, 250);
    }
    assert_eq!(mailbox(server.pop3, BOB).len(), 10);
    assert!(!server.has_ended());
    drop(noise);
    assert!(server.stop().status.success());
}

#[test]
fn promise_7_a_greeting_waits_for_no_resolver() {
    // That nobody is asked at all, the next test shows; here the greeting comes at once.
    let server = Home::new(&[("hostname", "mail.example.org")]).serve();
    let before = Instant::now();
    let mut smtp = Smtp::connect(server.smtp);
    let greeting = smtp.reply();
    assert_eq!(greeting.code, 220);
    assert!(greeting.text().starts_with("mail.example.org "), "{greeting:?}");
    let greeting = Line::connect(server.pop3).line();
    assert!(greeting.starts_with("+OK ") && greeting.contains(" mail.example.org"), "{greeting}");
    assert!(before.elapsed().as_secs() < 2, "{:?}", before.elapsed());
}

#[test]
fn promise_7_the_program_opens_no_connection_by_itself() {
    let mut home = Home::new(&[]);
    let trace = home.path().join("connects");
    let trace_path = trace.display().to_string();
    home.wrap(&[
        "strace",
        "-D",
        "-f",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-o",
        &trace_path,
    ]);
    let server = home.serve();
    deliver(&server, &["one"]);
    assert_eq!(mailbox(server.pop3, BOB).len(), 1);
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    let calls = std::fs::read_to_string(&trace).expect("strace is installed (package strace)");
    let outward: Vec<&str> =
        calls.lines().filter(|line| line.contains("connect(") || line.contains("sin_addr")).collect();
    assert_eq!(outward, Vec::<&str>::new());
}

#[test]
fn promise_8_a_bare_cr_or_lf_is_refused_and_never_splits_a_message() {
    let server = Home::new(&[]).serve();
    for bare in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"\nb\r\n", b"a\r\r\n", b"a\n.\nb\r\n"] {
        let mut smtp = Smtp::open(server.smtp);
        let reply = smtp.deliver("alice@client.example", BOB, &[b"Subject: x\r\n\r\n", bare].concat());
        assert_eq!(reply.code, 550, "{bare:?}: {reply:?}");
        assert!(reply.text().starts_with("5.6.11 "), "{bare:?}: {reply:?}");
        smtp.expect("NOOP", 250);
    }
    assert_eq!(mailbox(server.pop3, BOB).len(), 0);
}

#[test]
fn promise_8_a_catcher_may_be_told_to_mend_line_ends_and_still_never_splits() {
    let server = Home::new(&[("limits.bare_newline", "normalise")]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.envelope("alice@client.example", &[BOB]);
    smtp.expect("DATA", 354);
    smtp.line.send(b"Subject: x\n\na\rb\n.\nMAIL FROM:<eve@client.example>\r\n.\r\n");
    assert_eq!(smtp.reply().code, 250);
    smtp.expect("QUIT", 221);
    let kept = mailbox(server.pop3, BOB);
    assert_eq!(kept.len(), 1);
    let want = b"Subject: x\r\n\r\na\r\nb\r\n.\r\nMAIL FROM:<eve@client.example>\r\n";
    same(without_trace(&kept[0]), want, "mended");
}

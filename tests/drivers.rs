//! What only the drivers can keep, between a session and its socket: when replies leave, what a peer
//! that reads slowly or not at all costs, and who gives a mailbox up to whom.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and figures are for whoever asks with --nocapture"
)]

#[path = "drivers/crowd.rs"]
mod crowd;
mod support;
#[path = "drivers/takeover.rs"]
mod takeover;

use socket2::SockRef;
use std::io::Read;
use std::time::Instant;
use support::corpus;
use support::wire::{Pop3, Smtp, same, shown, without_trace};
use support::{Home, Server};

const ALICE: &str = "alice@client.example";
const BOB: &str = "bob@example.org";
const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nHello\r\n";
/// Octets that the kernel keeps for a client that reads slowly; it may double them.
const WINDOW_OCTETS: usize = 16 * 1024;

/// How much memory the server holds, in KiB.
fn memory_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line for memory");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// What strace saw the server write to its sockets, one call a line.
fn writes(trace: &std::path::Path) -> Vec<String> {
    let calls = std::fs::read_to_string(trace).expect("strace is installed (package strace)");
    let sent = ["sendto(", "sendmsg(", "write(", "writev("];
    calls.lines().filter(|line| sent.iter().any(|call| line.contains(call))).map(str::to_owned).collect()
}

// proves: RFC 2920 §3.2
#[test]
fn the_replies_to_a_pipelined_batch_leave_in_one_write() {
    let mut home = Home::new(&[]);
    let trace = home.path().join("writes");
    let trace_path = trace.display().to_string();
    let calls = "trace=sendto,sendmsg,write,writev";
    home.wrap(&["strace", "-D", "-f", "-qq", "-s", "4096", "-e", calls, "-o", &trace_path]);
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    let recipients = "RCPT TO:<bob@example.org>\r\n".repeat(20);
    smtp.line.send(format!("MAIL FROM:<{ALICE}>\r\n{recipients}DATA\r\n").as_bytes());
    let codes: Vec<u16> = (0..22).map(|_| smtp.reply().code).collect();
    assert_eq!(codes, [&[250; 21][..], &[354]].concat());
    smtp.line.send(b"text\r\n.\r\n");
    assert_eq!(smtp.reply().code, 250);
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    pop3.line.send("UIDL 1\r\n".repeat(20).as_bytes());
    for _ in 0..20 {
        assert!(pop3.line.line().starts_with("+OK 1 "));
    }
    assert!(server.stop().status.success());
    let writes = writes(&trace);
    let with = |words: &str| writes.iter().filter(|call| call.contains(words)).collect::<Vec<_>>();
    let batch = with(" recipient ok");
    assert_eq!(batch.len(), 1, "{batch:#?}");
    assert!(batch[0].contains(" sender ok") && batch[0].contains("354 "), "{batch:#?}");
    assert_eq!(batch[0].matches(" recipient ok").count(), 20, "{batch:#?}");
    let batch = with("+OK 1 ");
    assert_eq!(batch.len(), 1, "{batch:#?}");
}

#[test]
fn a_reply_does_not_wait_for_the_rest_of_a_command() {
    let server = Home::new(&[]).serve();
    let mut smtp = Smtp::open(server.smtp);
    smtp.line.send(b"NOOP\r\nNOOP\r\nNO");
    assert_eq!([smtp.reply().code, smtp.reply().code], [250, 250]);
    smtp.line.send(b"OP\r\n");
    assert_eq!(smtp.reply().code, 250);
}

#[test]
fn a_reader_that_stops_in_a_message_of_25_mib_holds_up_nobody_and_gets_the_rest_later() {
    let server = Home::new(&[]).serve();
    let large = corpus::of_octets(25 << 20);
    let mut smtp = Smtp::open(server.smtp);
    assert_eq!(smtp.deliver(ALICE, BOB, &large.message).code, 250);
    let mut stopped = Pop3::open(server.pop3, BOB, "any");
    let before = memory_kib(&server);
    assert!(stopped.ok("RETR 1").ends_with(" octets"));
    let start = stopped.line.octets();
    for _ in 0..20 {
        assert_eq!(smtp.deliver(ALICE, BOB, MESSAGE).code, 250, "into the very mailbox");
        assert_eq!(smtp.deliver(ALICE, "carol@example.org", MESSAGE).code, 250);
        let mut other = Pop3::open(server.pop3, "carol@example.org", "any");
        let (messages, _) = other.stat();
        other.ok(&format!("DELE {messages}"));
        other.ok("QUIT");
    }
    let grown = memory_kib(&server).saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for a message that nobody reads");
    let whole = [start, stopped.multi_line()].concat();
    same(without_trace(&whole), &large.message, "the message that was read in two parts");
    stopped.ok("QUIT");
}

/// Reads a list of `messages` lines, little by little; the most memory that the server had meanwhile.
fn read_slowly(pop3: &mut Pop3, server: &Server, messages: usize) -> u64 {
    let mut most = 0;
    let mut stream = pop3.line.stream().try_clone().expect("a second handle");
    let mut piece = [0; 4096];
    let (mut lines, mut end) = (0, Vec::new());
    while !end.ends_with(b"\r\n.\r\n") {
        let octets = stream.read(&mut piece).expect("more of the list, in time");
        assert_ne!(octets, 0, "the list is cut off at line {lines}");
        lines += piece[..octets].iter().filter(|&&octet| octet == b'\n').count();
        end.extend_from_slice(&piece[..octets]);
        end.drain(..end.len().saturating_sub(5));
        most = most.max(memory_kib(server));
    }
    assert_eq!(lines, messages + 2, "the first line, the messages, the dot: {}", shown(&end));
    most
}

#[test]
fn lists_of_100_000_messages_take_no_memory_of_their_own() {
    let home = Home::new(&[]);
    let server = crowd::serve(&home, BOB, 100_000);
    let began = Instant::now();
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    let login = began.elapsed();
    assert_eq!(pop3.stat().0, 100_000);
    SockRef::from(pop3.line.stream()).set_recv_buffer_size(WINDOW_OCTETS).expect("a small window");
    let before = memory_kib(&server);
    let mut most = before;
    let began = Instant::now();
    for list in ["LIST", "UIDL"] {
        pop3.line.say(list);
        // Nobody reads: the list has to wait, and nobody else with it.
        assert_eq!(Smtp::open(server.smtp).deliver(ALICE, "carol@example.org", MESSAGE).code, 250);
        most = most.max(memory_kib(&server)).max(read_slowly(&mut pop3, &server, 100_000));
    }
    let lists = began.elapsed();
    pop3.ok("QUIT");
    println!(
        "100,000 messages: login {login:?}, LIST and UIDL {lists:?}; {before} KiB, then {most} KiB at most"
    );
    let grown = most - before;
    assert!(grown < 2 * 1024, "{grown} KiB for lists of 1.2 and 2.3 MiB");
}

#[test]
fn quit_deletes_100_000_messages_at_once() {
    let home = Home::new(&[]);
    let server = crowd::serve(&home, BOB, 100_000);
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    let reader = pop3.line.stream().try_clone().expect("a second handle");
    let deletions = std::thread::spawn(move || {
        let all: String = (1..=100_000).map(|number| format!("DELE {number}\r\n")).collect();
        std::io::Write::write_all(&mut &reader, all.as_bytes()).expect("the server takes them");
    });
    for number in 1..=100_000 {
        assert_eq!(pop3.line.line(), format!("+OK message {number} will be deleted at QUIT"));
    }
    deletions.join().expect("they are sent");
    let before = memory_kib(&server);
    server.forget_peak();
    let began = Instant::now();
    assert_eq!(pop3.ok("QUIT"), "+OK 100000 messages deleted, bye");
    let took = began.elapsed();
    let grown = server.status("VmHWM:").saturating_sub(before);
    println!("QUIT with 100,000 deletions: {took:?}, {grown} KiB");
    // The bound of docs/guarantees.md: 128 octets each, and the caches of SQLite.
    assert!(grown < 100_000 * 128 / 1024 + 30 * 1024, "{grown} KiB for 100,000 deletions");
    assert_eq!(Pop3::open(server.pop3, BOB, "any").stat(), (0, 0));
}

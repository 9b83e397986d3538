//! Input without end: lines, headers, recipients, bodies, chunks of any size. Memory stays flat.

use super::{ALICE, connect_from, memory_bound_kib, visit};
use crate::disk_kit::chance::tries;
use crate::disk_kit::tally::Tally;
use crate::support::wire::{Pop3, Smtp, same, without_trace};
use crate::support::{Home, corpus};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What each of the endless peers sends, in MiB.
const MIB: usize = 3;
/// Peers of each kind at the same time.
const PEERS: usize = 4;

/// What is answered word by word is sent for so much less: the answers are many times longer.
const ANSWERED: usize = 8;
/// Nobody is starved: a visit ends, however busy the machine is with the floods themselves.
const SERVED: Duration = Duration::from_secs(30);

/// How a peer begins, and what it then says over and over.
struct Endless {
    what: &'static str,
    port: Port,
    begins: String,
    goes_on: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Port {
    Smtp,
    Pop3,
}

fn kinds() -> Vec<Endless> {
    let open = format!("EHLO a\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<endless@example.org>\r\n");
    let kind = |what, port, begins: &str, goes_on: &[u8]| Endless {
        what,
        port,
        begins: begins.to_owned(),
        goes_on: goes_on.to_vec(),
    };
    let mut kinds = vec![
        kind("a line", Port::Smtp, "EHLO ", b"a"),
        kind("a line of AUTH", Port::Smtp, "EHLO a\r\nAUTH PLAIN ", b"QUFB"),
        kind("a line of POP3", Port::Pop3, "USER ", b"a"),
        kind("a header line", Port::Smtp, &format!("{open}DATA\r\nSubject: "), b"a"),
        kind("a header", Port::Smtp, &format!("{open}DATA\r\n"), b"X-Filler: 0123456789\r\n"),
        kind("Received lines", Port::Smtp, &format!("{open}DATA\r\n"), b"Received: from a by b; c\r\n"),
        kind("a body line", Port::Smtp, &format!("{open}DATA\r\n\r\n"), b"a"),
        kind("a body of dots", Port::Smtp, &format!("{open}DATA\r\n\r\n"), b"..\r\n"),
        kind("recipients", Port::Smtp, &open, b"RCPT TO:<another@example.org>\r\n"),
        kind("commands", Port::Smtp, "EHLO a\r\n", b"NOOP\r\n"),
        kind("commands of POP3", Port::Pop3, "", b"CAPA\r\n"),
        kind("empty chunks", Port::Smtp, &open, b"BDAT 0\r\n"),
        kind("chunks of one octet", Port::Smtp, &open, b"BDAT 1\r\na"),
    ];
    for size in ["4294967296", "9223372036854775807", "18446744073709551615", "18446744073709551616"] {
        for last in ["", " LAST"] {
            kinds.push(kind("a chunk", Port::Smtp, &format!("{open}BDAT {size}{last}\r\n"), b"a\r\n"));
        }
    }
    kinds
}

/// Sends so many octets or until it is thrown out, while somebody reads what is answered.
fn go_on(stream: TcpStream, endless: &Endless, octets: usize) {
    let mut answers = stream.try_clone().expect("a second handle");
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 16 * 1024];
        while answers.read(&mut piece).is_ok_and(|octets| octets > 0) {}
    });
    let piece = endless.goes_on.repeat((64 * 1024usize).div_ceil(endless.goes_on.len()));
    let mut stream = stream;
    let answered = matches!(endless.goes_on.last(), Some(b'\n')) && !endless.begins.contains("DATA");
    let mut left = if answered { octets / ANSWERED } else { octets };
    let mut sent = stream.write_all(endless.begins.as_bytes());
    while sent.is_ok() && left > 0 {
        sent = stream.write_all(&piece);
        left = left.saturating_sub(piece.len());
    }
    drop(stream.shutdown(std::net::Shutdown::Both));
    reader.join().expect("no panic");
}

#[test]
fn endless_lines_headers_recipients_and_chunks_of_any_size_stay_within_the_bound_of_memory() {
    let mut server = Home::new(&[]).serve();
    visit(&server);
    let rest = server.status("VmRSS:");
    let octets = tries("PILLARBOX_ENDLESS_MIB", MIB) << 20;
    let mut tally = Tally::default();
    for endless in kinds() {
        let to = match endless.port {
            Port::Smtp => server.smtp,
            Port::Pop3 => server.pop3,
        };
        std::thread::scope(|threads| {
            let endless = &endless;
            let peers: Vec<_> = (0..PEERS)
                .map(|peer| threads.spawn(move || go_on(connect_from(peer, to), endless, octets)))
                .collect();
            // One visit at least, whether or not they go on for so long.
            while !peers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                let took = visit(&server);
                assert!(took < SERVED, "{}: {took:?} for a client that behaves", endless.what);
            }
        });
        let most = server.status("VmHWM:").saturating_sub(rest);
        let bound = memory_bound_kib(0, PEERS + 4, 0);
        assert!(most < bound, "{}: {most} KiB above rest, {bound} are promised", endless.what);
        tally.tries += PEERS;
    }
    let most = server.status("VmHWM:").saturating_sub(rest);
    drop(writeln!(std::io::stderr(), "endless input: {most} KiB above {rest} at rest"));
    assert!(!server.has_ended());
    tally.conclude("endless input");
}

/// What each of a hundred sends, in MiB.
const SENT_MIB: usize = 1;
const SENDERS: usize = 100;

#[test]
fn a_hundred_who_send_large_messages_at_once_share_what_is_promised() {
    let server = Home::new(&[]).serve();
    visit(&server);
    let rest = server.status("VmRSS:");
    server.forget_peak();
    let message = corpus::of_octets(tries("PILLARBOX_SENT_MIB", SENT_MIB) << 20).message;
    let mut tally = Tally { tries: SENDERS, ..Tally::default() };
    std::thread::scope(|threads| {
        for _ in 0..SENDERS {
            threads.spawn(|| {
                let reply = Smtp::open(server.smtp).deliver(ALICE, "large@example.org", &message);
                assert_eq!(reply.code, 250, "{reply:?}");
            });
        }
    });
    let grown = server.status("VmHWM:").saturating_sub(rest);
    let bound = memory_bound_kib(0, SENDERS, SENDERS);
    drop(writeln!(std::io::stderr(), "{SENDERS} large messages at once: {grown} KiB above {rest} at rest"));
    assert!(grown < bound, "{grown} KiB, {bound} are promised");
    let mut pop3 = Pop3::open(server.pop3, "large@example.org", "any");
    let there = pop3.stat().0 as usize;
    (there..SENDERS).for_each(|_| tally.lost("a message"));
    (SENDERS..there).for_each(|_| tally.doubled("a message"));
    let (_, last) = pop3.body(&format!("RETR {there}"));
    same(without_trace(&last), &message, "the last of them");
    tally.conclude("a hundred large messages at once");
}

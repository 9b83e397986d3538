//! Sessions that end badly, thousands of them: afterwards everything is as it was before.

use super::{ALICE, connect_from, visit};
use crate::disk_kit::chance::{Chance, seed, tries};
use crate::disk_kit::tally::Tally;
use crate::support::wire::{Pop3, Smtp, mailbox};
use crate::support::{DEADLINE, Home, Server};
use socket2::SockRef;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BAD_SESSIONS: usize = 1_500;
/// Sessions that warm up what a server keeps once it has it: buffers, threads, caches.
const WARM_UP: usize = 200;
/// At the same time.
const PLACES: usize = 64;
/// What may differ between two moments of the same server, in KiB.
const NOISE_KIB: u64 = 8 * 1024;
const BOB: &str = "bob@example.org";
const KINDS: usize = 10;

fn settings() -> Home {
    let places = PLACES.to_string();
    let mut home = Home::new(&[("limits.connections", &places), ("listen.pop3s", "127.0.0.1:0")]);
    home.succeed(&["tls", "dev"], "");
    let dir = home.data_dir().join("tls");
    home.set("tls.certificate", &dir.join("cert.pem").display().to_string());
    home.set("tls.private_key", &dir.join("key.pem").display().to_string());
    home
}

/// The start of a handshake: a record that promises more than comes.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a hello";

/// One session that ends as badly as its kind says. Whatever goes wrong for the peer is its wish.
fn end_badly(kind: usize, server: &Server, chance: &mut Chance) -> std::io::Result<()> {
    let mut stream = match kind {
        4 => connect_from(1, server.address("pop3s").expect("it listens")),
        6..=8 => connect_from(1, server.pop3),
        _ => connect_from(1, server.smtp),
    };
    let envelope = format!("EHLO a\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<cut@example.org>\r\n");
    let filler = "0123456789abcdef0123456789abcdef\r\n".repeat(if kind % 6 == 3 { 16 * 1024 } else { 0 });
    let says: Vec<Vec<u8>> = match kind {
        0 => vec![],
        1 => vec![b"EHLO a\r\nMAIL FRO".to_vec()],
        2 => vec![format!("{envelope}DATA\r\nSubject: small\r\n\r\nhalf").into_bytes()],
        // Long enough to be on disk in slices.
        3 => vec![format!("{envelope}DATA\r\nSubject: large\r\n\r\n{filler}").into_bytes()],
        4 => vec![HALF_A_HELLO.to_vec()],
        5 => vec![b"EHLO a\r\nSTARTTLS\r\n".to_vec(), HALF_A_HELLO.to_vec()],
        6 => vec![format!("USER {BOB}\r\nPASS any\r\nRETR 1\r\n").into_bytes()],
        7 => vec![format!("USER {BOB}\r\nPASS any\r\nDELE 1\r\nDELE 2\r\nDELE 1\r\n").into_bytes()],
        8 => vec![format!("USER {BOB}\r\nPASS any\r\nUIDL\r\nTOP 1 ").into_bytes()],
        _ => vec![format!("{envelope}BDAT 900000 LAST\r\n{}", &filler[..400_000]).into_bytes()],
    };
    for (number, words) in says.iter().enumerate() {
        stream.write_all(words)?;
        if number + 1 < says.len() {
            until_ready_for_tls(&stream)?;
        } else if !words.is_empty() && kind != 4 && kind != 5 && chance.percent(70) {
            // Some read a little of what comes, some nothing.
            let mut piece = [0; 2048];
            let reads = if kind == 6 { 1 + chance.below(4) } else { 1 };
            for _ in 0..reads {
                let octets = stream.read(&mut piece)?;
                // The mailbox may still be held by the session before.
                if piece[..octets].windows(4).any(|word| word == b"-ERR") {
                    break;
                }
            }
        }
    }
    if chance.percent(50) {
        // A reset instead of a close.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Reads the greeting and all up to the 220 that STARTTLS is answered with.
fn until_ready_for_tls(stream: &TcpStream) -> std::io::Result<()> {
    let mut greetings = 0;
    for line in BufReader::new(stream).lines() {
        greetings += usize::from(line?.starts_with("220 "));
        if greetings == 2 {
            return Ok(());
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// What may not grow.
#[derive(Debug)]
struct Measures {
    threads: u64,
    memory_kib: u64,
}

/// Waits until all sessions are over, which shows in sockets and in staged bodies; then measures.
fn at_rest(home: &Home, server: &Server, descriptors: usize) -> Measures {
    let until = Instant::now() + DEADLINE;
    while server.descriptors() > descriptors || staged(home) > 0 {
        assert!(
            Instant::now() < until,
            "{} descriptors are open, {descriptors} were; {} bodies are staged",
            server.descriptors(),
            staged(home)
        );
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Measures { threads: server.status("Threads:"), memory_kib: server.status("VmRSS:") }
}

/// Bodies in the database that no message has.
fn staged(home: &Home) -> u64 {
    let script = "import sqlite3, sys\n\
                  count = 'SELECT count(*) FROM body WHERE copies = 0'\n\
                  print(sqlite3.connect(sys.argv[1], timeout=30).execute(count).fetchone()[0])";
    let path = home.data_dir().join("pillarbox.db");
    let output = std::process::Command::new("python3").args(["-c", script]).arg(path).output();
    let told = String::from_utf8(output.expect("python3").stdout).expect("a number");
    told.trim().parse().expect("a number")
}

/// All places are free: nobody who has gone holds one.
fn all_places_are_free(to: SocketAddr) {
    let until = Instant::now() + DEADLINE;
    loop {
        let mut peers: Vec<TcpStream> = (0..PLACES).map(|_| connect_from(2, to)).collect();
        let served = |peer: &mut TcpStream| {
            let mut first = [0; 4];
            peer.read_exact(&mut first).is_ok() && &first == b"220 "
        };
        if peers.iter_mut().all(served) {
            return;
        }
        assert!(Instant::now() < until, "places of peers that have gone are not given back");
    }
}

#[test]
fn thousands_of_sessions_that_end_badly_leave_nothing_behind() {
    let home = settings();
    let mut server = home.serve();
    let mail = crate::support::corpus::of_octets(1 << 20).message;
    for _ in 0..2 {
        assert_eq!(Smtp::open(server.smtp).deliver(ALICE, BOB, &mail).code, 250);
    }
    visit(&server);
    let rest = server.descriptors();
    let mut chance = Chance::new(seed());
    let mut end_many = |count: usize| {
        for number in 0..count {
            // Whether the peer gets through its words is the server's affair.
            let _ = end_badly(number % KINDS, &server, &mut chance);
        }
    };
    end_many(WARM_UP);
    all_places_are_free(server.smtp);
    let before = at_rest(&home, &server, rest);
    let count = tries("PILLARBOX_BAD_SESSIONS", BAD_SESSIONS);
    end_many(count);
    all_places_are_free(server.smtp);
    let after = at_rest(&home, &server, rest);
    drop(writeln!(std::io::stderr(), "before {before:?}\nafter  {after:?}"));
    assert!(after.memory_kib <= before.memory_kib + NOISE_KIB, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    let mut tally = Tally { tries: count, ..Tally::default() };
    // The lease is free, and DELE without QUIT has deleted nothing.
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    (pop3.stat().0..2).for_each(|_| tally.lost("a message that was marked and whose session was cut"));
    pop3.ok("QUIT");
    mailbox(server.pop3, "cut@example.org").iter().for_each(|_| tally.damaged("half a message is there"));
    assert!(!server.has_ended());
    assert!(server.stop().status.success());
    tally.conclude("sessions that end badly");
}

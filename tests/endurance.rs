//! Many peers at once that are slow, endless or end badly: the others are served, memory keeps to
//! the bound of docs/guarantees.md, and nothing is left behind.
//!
//! `PILLARBOX_DRIP_SECONDS`, `PILLARBOX_ENDLESS_MIB` and `PILLARBOX_BAD_SESSIONS` make it long,
//! `PILLARBOX_VISIT_MS` makes it strict: the longest that a client which behaves may take.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
#[path = "endurance/endings.rs"]
mod endings;
#[path = "endurance/endless.rs"]
mod endless;
#[path = "endurance/leaks.rs"]
mod leaks;
mod store_kit;
mod support;

use disk_kit::tally::Tally;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::wire::{Line, Pop3, Smtp};
use support::{DEADLINE, Home, Server};

const ALICE: &str = "alice@client.example";
/// The server is alive: a whole visit takes no longer, on a machine that is busy with other tests too.
/// With nothing beside it a second is promised, which `tests/torture` holds it to.
const ALIVE_MS: usize = 5_000;
/// Nobody is thrown out for being slow before.
const PATIENT_SECONDS: usize = 170;
const SLOW_PEERS: usize = 4_000;
/// `limits.connections` and `limits.connections_per_ip` as they are by default.
const CONNECTIONS: usize = 4_096;
const OF_ONE_ADDRESS: usize = 250;

/// The bound of docs/guarantees.md above rest, in KiB, for sessions that wait, sessions that send or
/// fetch, and those of them that send a message.
fn memory_bound_kib(waiting: usize, active: usize, sending: usize) -> u64 {
    let (caches, messages) = (30 << 10, if sending > 0 { 32 << 10 } else { 0 });
    caches + messages + (16 * waiting + 64 * active + 16 * sending) as u64
}

/// Connects from the `number`-th address of this machine's own network.
fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from(([127, 0, 1 + (number / 250) as u8, 1 + (number % 250) as u8], 0));
    socket.bind(&from.into()).expect("all of 127.0.0.0/8 is this machine");
    socket.connect(&to.into()).expect("the server listens");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}

/// As many descriptors as this many peers take, in this process and in the server it starts.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= 2 * CONNECTIONS as u64);
    assert!(enough, "this test opens {CONNECTIONS} connections: raise the hard limit (ulimit -Hn)");
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
}

/// A client that behaves sends a message and fetches it; how long that took.
fn visit(server: &Server) -> Duration {
    let since = Instant::now();
    let mut smtp = Smtp::open(server.smtp);
    assert_eq!(smtp.deliver(ALICE, "other@example.org", b"Subject: hello\r\n\r\nHello\r\n").code, 250);
    let mut pop3 = Pop3::open(server.pop3, "other@example.org", "any");
    pop3.body("RETR 1");
    pop3.ok("QUIT");
    smtp.expect("QUIT", 221);
    since.elapsed()
}

/// A peer, and what it says octet by octet.
struct Slow {
    stream: TcpStream,
    says: Vec<u8>,
}

fn slow_peer(number: usize, server: &Server) -> Slow {
    let to = if number % 4 == 2 { server.pop3 } else { server.smtp };
    let mut stream = connect_from(number / OF_ONE_ADDRESS, to);
    let says = match number % 4 {
        0 => "EHLO a-name-that-does-not-come-to-its-end.example\r\n".to_owned(),
        1 => {
            let envelope = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<slow@example.org>\r\nDATA\r\n";
            stream.write_all(envelope).expect("it takes that");
            "Subject: a message that does not come to its end\r\n\r\n...\r\n".to_owned()
        }
        2 => format!("CAPA\r\nUSER slow-{number}@example.org\r\nPASS any\r\nSTAT\r\n"),
        // Says one word after the other and never listens.
        _ => "NOOP\r\n".to_owned(),
    };
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).expect("a greeting");
    assert!(matches!(&greeting, b"220 " | b"+OK "), "peer {number}: {greeting:?}");
    Slow { stream, says: says.into_bytes() }
}

#[test]
fn with_4000_peers_at_one_octet_a_second_others_are_served_and_excess_is_told_at_once() {
    allow_descriptors();
    let mut server = Home::new(&[]).serve();
    visit(&server);
    let before = server.status("VmRSS:");
    let mut peers: Vec<Slow> = (0..SLOW_PEERS).map(|number| slow_peer(number, &server)).collect();
    let alive = Duration::from_millis(disk_kit::chance::tries("PILLARBOX_VISIT_MS", ALIVE_MS) as u64);
    let (mut worst, mut returned) = (Duration::ZERO, 0);
    let mut tally = Tally::default();
    for second in 0..disk_kit::chance::tries("PILLARBOX_DRIP_SECONDS", 3) {
        let since = Instant::now();
        for (number, peer) in peers.iter_mut().enumerate() {
            let octet = peer.says[second % peer.says.len()];
            if peer.stream.write_all(&[octet]).is_err() {
                // Its message was too slow, or it made too many errors: it comes again.
                assert!(second >= PATIENT_SECONDS, "peer {number} is thrown out after {second} s");
                *peer = slow_peer(number, &server);
                returned += 1;
            }
        }
        while since.elapsed() < Duration::from_secs(1) {
            worst = worst.max(visit(&server));
            tally.tries += 1;
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
    assert!(worst < alive, "{worst:?} for a client that behaves");
    let grown = server.status("VmRSS:").saturating_sub(before);
    let each = grown * 1024 / SLOW_PEERS as u64;
    drop(writeln!(
        std::io::stderr(),
        "{SLOW_PEERS} slow peers: {each} octets each, worst visit {worst:?}, {returned} returned"
    ));
    // A quarter of them is within a message, of which little has come.
    let bound = memory_bound_kib(SLOW_PEERS, 0, SLOW_PEERS / 4);
    assert!(grown < bound, "{grown} KiB for {SLOW_PEERS} slow peers, {bound} are promised");
    // Of those that come again some may be gone at this moment.
    let places = if returned == 0 { CONNECTIONS - SLOW_PEERS } else { CONNECTIONS };
    excess_is_told(&server, places, alive);
    assert!(!server.has_ended());
    drop(peers);
    let until = Instant::now() + DEADLINE;
    while server.descriptors() > 100 {
        assert!(Instant::now() < until, "{} descriptors are left", server.descriptors());
        std::thread::yield_now();
    }
    visit(&server);
    tally.conclude("4,000 slow peers");
}

/// Takes the places that are left, so many at most; whoever comes then is told so at once.
fn excess_is_told(server: &Server, places: usize, alive: Duration) {
    let mut more = Vec::new();
    let refused = loop {
        let mut stream = connect_from(100 + more.len() / OF_ONE_ADDRESS, server.smtp);
        let mut first = [0; 4];
        let since = Instant::now();
        stream.read_exact(&mut first).expect("a first word");
        assert!(since.elapsed() < alive, "{:?} for a first word", since.elapsed());
        if &first != b"220 " {
            break first;
        }
        more.push(stream);
        assert!(more.len() <= places, "more than limits.connections");
    };
    assert_eq!(&refused, b"421 ", "after {} more", more.len());
    let told = Line::connect(server.pop3).line();
    assert!(told.starts_with("-ERR [SYS/TEMP]"), "{told}");
}

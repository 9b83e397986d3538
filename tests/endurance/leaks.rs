//! Sessions that end badly, thousands of them: afterwards everything is as it was before. That they got
//! as far as they were to is counted, or nothing would have been there to be left behind.

use super::endings::{self, BOB, CUT, Ending, LISTENERS};
use super::{ALICE, connect_from, visit};
use crate::disk_kit::chance::{Chance, seed, tries};
use crate::disk_kit::tally::Tally;
use crate::store_kit::{blocking, bodies_begun, staged};
use crate::support::wire::{Pop3, Smtp, mailbox};
use crate::support::{DEADLINE, Home, Server};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const BAD_SESSIONS: usize = 1_140;
/// Sessions that warm up what a server keeps once it has it: buffers, threads, caches.
const WARM_UP: usize = 190;
/// From one kind to the next: those that want the same mailbox do not follow each other.
const STEP: usize = 7;
/// At the same time.
const PLACES: usize = 64;
/// What may differ between two moments of the same server, in KiB: below it no growth is told from none.
const NOISE_KIB: u64 = 1024;

fn settings() -> Home {
    let places = PLACES.to_string();
    let mut home = Home::new(&[("limits.connections", &places)]);
    home.succeed(&["tls", "dev"], "");
    let dir = home.data_dir().join("tls");
    home.set("tls.certificate", &dir.join("cert.pem").display().to_string());
    home.set("tls.private_key", &dir.join("key.pem").display().to_string());
    for listener in LISTENERS {
        home.set(&format!("listen.{listener}"), "127.0.0.1:0");
    }
    home
}

/// What may not grow.
#[derive(Debug)]
struct Measures {
    threads: u64,
    memory_kib: u64,
}

/// Waits until all sessions are over, which shows in sockets and in staged bodies; then measures.
fn at_rest(home: &Home, server: &Server, descriptors: usize) -> Measures {
    all_places_are_free(server.smtp);
    let until = Instant::now() + DEADLINE;
    loop {
        let (open, staged) = (server.descriptors(), blocking(staged(home.data_dir())));
        if open <= descriptors && staged == 0 {
            return Measures { threads: server.status("Threads:"), memory_kib: server.status("VmRSS:") };
        }
        let told = format!("{open} descriptors are open, {descriptors} were; {staged} bodies are staged");
        assert!(Instant::now() < until, "{told}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
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

/// The kinds, and how many of each were tried and got as far as they were to.
struct Crowd<'a> {
    server: &'a Server,
    trust: std::sync::Arc<rustls::ClientConfig>,
    chance: Chance,
    kinds: Vec<(Ending, usize, usize)>,
}

impl Crowd<'_> {
    fn end_badly(&mut self, count: usize) {
        for number in 0..count {
            let at = number * STEP % self.kinds.len();
            let (ending, tried, reached) = &mut self.kinds[at];
            *tried += 1;
            *reached += usize::from(ending.play(self.server, &self.trust, &mut self.chance).is_ok());
        }
    }

    /// Most of each kind were really within what they were to end in.
    fn have_arrived(&self) {
        for (ending, tried, reached) in &self.kinds {
            drop(writeln!(std::io::stderr(), "  {}: {reached} of {tried}", ending.what));
        }
        for (ending, tried, reached) in &self.kinds {
            assert!(2 * reached > *tried, "{}: {reached} of {tried} got there", ending.what);
        }
    }

    /// Sessions that have heard that a mailbox was open for them.
    fn leases(&self) -> usize {
        let heard = self.kinds.iter().filter(|(ending, ..)| ending.hears_of_its_lease());
        heard.map(|(_, _, reached)| reached).sum()
    }

    fn staged(&self) -> usize {
        let staged = self.kinds.iter().filter(|(ending, ..)| ending.is_staged);
        staged.map(|(_, _, reached)| reached).sum()
    }
}

/// Whether a line of the log tells of a mailbox that was opened; of those who read nothing only this does.
fn is_lease(line: &str) -> bool {
    line.contains("pop3{") && line.contains(" login ") && line.contains(BOB)
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
    let begun = blocking(bodies_begun(home.data_dir()));
    let kinds = endings::all().into_iter().map(|ending| (ending, 0, 0)).collect();
    let trust = endings::trust(&home);
    let mut crowd = Crowd { server: &server, trust, chance: Chance::new(seed()), kinds };
    let count = tries("PILLARBOX_BAD_SESSIONS", BAD_SESSIONS);
    crowd.end_badly(WARM_UP);
    let before = at_rest(&home, &server, rest);
    crowd.end_badly(count / 2);
    let between = at_rest(&home, &server, rest);
    crowd.end_badly(count - count / 2);
    let after = at_rest(&home, &server, rest);
    drop(writeln!(std::io::stderr(), "before  {before:?}\nbetween {between:?}\nafter   {after:?}"));
    crowd.have_arrived();
    // Ids of bodies are never used again, so that those that are gone count too.
    let begun = blocking(bodies_begun(home.data_dir())) - begun;
    let staged = crowd.staged();
    drop(writeln!(std::io::stderr(), "{begun} bodies were begun by {staged} sessions"));
    assert!(2 * begun > staged as i64, "{begun} bodies were begun by {staged} sessions with large messages");
    let leases = crowd.leases();
    let taken = server.log().lines().filter(|line| is_lease(line)).count();
    drop(writeln!(std::io::stderr(), "{taken} leases were taken, {leases} of them heard of"));
    assert!(taken > leases && leases > 0, "{taken} leases were taken, {leases} of them heard of");
    // What leaks grows with the sessions, in the second half as in the first; a cache that fills does not.
    let first = between.memory_kib.saturating_sub(before.memory_kib);
    let second = after.memory_kib.saturating_sub(between.memory_kib);
    assert!(second <= NOISE_KIB.max(first / 4), "{first} KiB, then {second} KiB more");
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    let mut tally = Tally { tries: count, ..Tally::default() };
    // The lease is free, and DELE without QUIT has deleted nothing.
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    (pop3.stat().0..2).for_each(|_| tally.lost("a message that was marked and whose session was cut"));
    pop3.ok("QUIT");
    mailbox(server.pop3, CUT).iter().for_each(|_| tally.damaged("half a message is there"));
    assert!(!server.has_ended());
    assert!(server.stop().status.success());
    tally.conclude("sessions that end badly");
}

//! Death under load: the server is killed again and again while clients deliver and delete. After each
//! restart it serves at once, everything that was acknowledged is looked for, and the database is examined:
//! whole by its own account, its counters right, no unfinished bodies, the same ids.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
mod store_kit;
mod support;

use disk_kit::chance::{Chance, seed, tries};
use disk_kit::tally::Tally;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use store_kit::blemishes;
use support::frail::Frail;
use support::wire::{Pop3, mailbox, stuffed, without_trace};
use support::{DEADLINE, Home, Server};

/// Kills in the short run. `PILLARBOX_CRASHES` makes it a long one; `PILLARBOX_SEED` chooses the same
/// moments again, although nobody can make the clients and the server meet again as they did.
const CRASHES: usize = 8;
/// Kills that one data directory lives through: all that is in it is read after each.
const CRASHES_OF_A_HOME: usize = 10;
/// From the start of the program to the answer to a login, on a busy machine and in a debug build too.
const SERVES: Duration = Duration::from_secs(10);
const SENDERS: u32 = 4;
const BOB: &str = "bob@example.org";

/// What a client learned before the server died.
enum News {
    /// This message was about to be sent.
    Offered(String, Vec<u8>),
    /// This message was answered with 250.
    Accepted(String),
    /// A session that has marked all of this mailbox was about to say QUIT.
    Quitting(String),
    /// That QUIT was answered with `+OK`.
    Deleted(String),
}

/// A message whose text follows from its name; every fourth is a large one.
fn message(name: &str, number: u32) -> Vec<u8> {
    let lines = if number % 4 == 3 { 6_000 } else { 3 };
    let body: String = (0..lines).map(|line| format!("{name} line {line} {}\r\n", "y".repeat(50))).collect();
    format!("Subject: {name}\r\n\r\n{body}").into_bytes()
}

fn send_until_it_dies(smtp: SocketAddr, sender: &str, to: &str, news: &Sender<News>) -> Option<()> {
    let mut client = Frail::connect(smtp)?;
    client.ask(b"EHLO client.example\r\n")?;
    for number in 0.. {
        let name = format!("{sender}-{number}");
        let message = message(&name, number);
        news.send(News::Offered(name.clone(), message.clone())).ok()?;
        client.ask(b"MAIL FROM:<alice@client.example>\r\n")?;
        client.ask(format!("RCPT TO:<{to}>\r\n").as_bytes())?;
        client.ask(b"DATA\r\n")?;
        if client.ask(&stuffed(&message))?.starts_with("250") {
            news.send(News::Accepted(name)).ok()?;
        }
    }
    Some(())
}

/// Fills one mailbox after the other with two messages and deletes both in one session.
fn delete_until_it_dies(smtp: SocketAddr, pop3: SocketAddr, round: usize, news: &Sender<News>) -> Option<()> {
    let mut sender = Frail::connect(smtp)?;
    sender.ask(b"EHLO client.example\r\n")?;
    for number in 0.. {
        let mailbox = format!("bin-{round}-{number}@example.org");
        for _ in 0..2 {
            sender.ask(b"MAIL FROM:<alice@client.example>\r\n")?;
            sender.ask(format!("RCPT TO:<{mailbox}>\r\n").as_bytes())?;
            sender.ask(b"DATA\r\n")?;
            sender.ask(&stuffed(&message("rubbish", 0)))?;
        }
        let mut client = Frail::connect(pop3)?;
        client.ask(format!("USER {mailbox}\r\n").as_bytes())?;
        for command in ["PASS any\r\n", "DELE 1\r\n", "DELE 2\r\n"] {
            client.ask(command.as_bytes())?;
        }
        news.send(News::Quitting(mailbox.clone())).ok()?;
        if client.ask(b"QUIT\r\n")?.starts_with("+OK") {
            news.send(News::Deleted(mailbox)).ok()?;
        }
    }
    Some(())
}

/// All that the clients of all rounds have learned.
#[derive(Debug, Default)]
struct Learned {
    offered: BTreeMap<String, Vec<u8>>,
    accepted: Vec<String>,
    /// Mailboxes, and whether their deletions were acknowledged.
    deletions: BTreeMap<String, bool>,
    /// Which message each unique-id was first seen with: neither ever has another.
    ids: BTreeMap<String, String>,
}

impl Learned {
    fn note(&mut self, piece: News) {
        match piece {
            News::Offered(name, message) => drop(self.offered.insert(name, message)),
            News::Accepted(name) => self.accepted.push(name),
            News::Quitting(mailbox) => drop(self.deletions.insert(mailbox, false)),
            News::Deleted(mailbox) => drop(self.deletions.insert(mailbox, true)),
        }
    }

    /// Looks for all of it in what the server has kept.
    fn check(&mut self, pop3: SocketAddr, tally: &mut Tally) {
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for (id, message) in read(pop3) {
            let text = without_trace(&message);
            let end = text.windows(2).position(|pair| pair == b"\r\n").expect("a line");
            let name = String::from_utf8_lossy(&text[..end]).replace("Subject: ", "");
            if self.offered.get(&name).is_none_or(|offered| offered != text) {
                tally.damaged(&format!("{name} is not what was sent"));
            }
            let first = self.ids.entry(id.clone()).or_insert_with(|| name.clone());
            if *first != name {
                tally.damaged(&format!("{name} has the id {id}, which was that of {first}"));
            }
            *found.entry(name).or_default() += 1;
        }
        // Nothing is deleted there, so that there is one id for each message that is.
        if self.ids.len() != found.len() {
            tally.damaged(&format!("{} messages have had {} ids", found.len(), self.ids.len()));
        }
        for name in self.accepted.iter().filter(|&name| !found.contains_key(name)) {
            tally.lost(name);
        }
        for (name, _) in found.iter().filter(|(_, times)| **times != 1) {
            tally.doubled(name);
        }
        for (name, acknowledged) in &self.deletions {
            let left = mailbox(pop3, name).len();
            let allowed = if *acknowledged { left == 0 } else { left == 0 || left == 2 };
            if !allowed {
                tally.damaged(&format!("{name}: {left} left, deletion acknowledged: {acknowledged}"));
            }
        }
    }
}

/// Bob's messages with their unique-ids.
fn read(pop3: SocketAddr) -> Vec<(String, Vec<u8>)> {
    let mut session = Pop3::open(pop3, BOB, "any");
    let ids = session.ids();
    let messages = session.all();
    session.ok("QUIT");
    assert_eq!(ids.len(), messages.len());
    ids.into_iter().zip(messages).collect()
}

/// One life of the server: it is killed after so many messages were acknowledged.
fn work_and_die(server: Server, round: usize, learned: &mut Learned, chance: &mut Chance) {
    let (smtp, pop3) = (server.smtp, server.pop3);
    let (news, heard) = channel();
    let mut clients = Vec::new();
    for sender in 0..SENDERS {
        let news = news.clone();
        let name = format!("r{round}s{sender}");
        clients.push(std::thread::spawn(move || send_until_it_dies(smtp, &name, BOB, &news)));
    }
    clients.push(std::thread::spawn(move || delete_until_it_dies(smtp, pop3, round, &news)));
    let until = learned.accepted.len() + 1 + chance.below(25);
    let mut server = Some(server);
    while let Ok(piece) = heard.recv_timeout(DEADLINE) {
        learned.note(piece);
        if learned.accepted.len() >= until
            && let Some(server) = server.take()
        {
            // Not always right after an acknowledgement.
            (0..chance.below(3_000)).for_each(|_| std::thread::yield_now());
            server.kill();
        }
    }
    for client in clients {
        client.join().expect("a client ends with its server");
    }
    assert!(server.is_none(), "round {round}: too little was acknowledged in time");
}

/// What the database says of itself.
fn examine(home: &Home, tally: &mut Tally) {
    blemishes(home.data_dir()).iter().for_each(|finding| tally.damaged(finding));
}

/// The start after a death; how long it took until a mailbox could be opened.
fn start_again(home: &Home) -> (Server, Duration) {
    let since = Instant::now();
    let server = home.serve();
    Pop3::open(server.pop3, BOB, "any").ok("QUIT");
    (server, since.elapsed())
}

/// What the kills have met: without these they would have shown little.
#[derive(Debug, Default)]
struct Met {
    deletions: usize,
    /// Starts that found bodies of unfinished messages.
    unfinished: usize,
    longest_start: Duration,
}

/// Kills one server after the other on the same data.
fn kill_again_and_again(
    home: &Home,
    rounds: std::ops::Range<usize>,
    chance: &mut Chance,
    tally: &mut Tally,
    met: &mut Met,
) {
    let mut learned = Learned::default();
    let mut server = home.serve();
    for round in rounds {
        work_and_die(server, round, &mut learned, chance);
        let (again, took) = start_again(home);
        assert!(took < SERVES, "round {round}: {took:?} until it served again");
        met.longest_start = met.longest_start.max(took);
        met.unfinished += usize::from(again.log().contains("messages that were never finished"));
        // Before anybody else comes, who might have something unfinished.
        examine(home, tally);
        learned.check(again.pop3, tally);
        tally.tries += 1;
        server = again;
    }
    met.deletions += learned.deletions.values().filter(|acknowledged| **acknowledged).count();
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    examine(home, tally);
}

#[test]
fn what_was_acknowledged_survives_being_killed_again_and_again() {
    let (mut chance, mut tally) = (Chance::new(seed()), Tally::default());
    let crashes = tries("PILLARBOX_CRASHES", CRASHES);
    let mut met = Met::default();
    while tally.tries < crashes {
        let rounds = tally.tries..crashes.min(tally.tries + CRASHES_OF_A_HOME);
        kill_again_and_again(&Home::new(&[]), rounds, &mut chance, &mut tally, &mut met);
    }
    drop(writeln!(std::io::stderr(), "{met:?}"));
    assert!(met.deletions > 0, "deletions were under load too");
    // Chance may spare a few kills, and not dozens.
    assert!(met.unfinished > 0 || crashes < 4 * CRASHES, "no kill came within a large message: {met:?}");
    tally.conclude("killed");
}

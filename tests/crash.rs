//! Death under load: the server is killed again and again while clients deliver and delete, and
//! after each restart everything that was acknowledged is looked for.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
mod support;

use disk_kit::chance::{Chance, seed, tries};
use disk_kit::tally::Tally;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use support::frail::Frail;
use support::wire::{mailbox, stuffed, without_trace};
use support::{DEADLINE, Home};

/// Kills in the short run. `PILLARBOX_CRASHES` makes it a long one, `PILLARBOX_SEED` repeats one.
const CRASHES: usize = 8;
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
fn delete_until_it_dies(smtp: SocketAddr, pop3: SocketAddr, round: u32, news: &Sender<News>) -> Option<()> {
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
    fn check(&self, pop3: SocketAddr, tally: &mut Tally) {
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        for message in &mailbox(pop3, BOB) {
            let text = without_trace(message);
            let end = text.windows(2).position(|pair| pair == b"\r\n").expect("a line");
            let name = String::from_utf8_lossy(&text[..end]).replace("Subject: ", "");
            if self.offered.get(&name).is_none_or(|offered| offered != text) {
                tally.damaged(&format!("{name} is not what was sent"));
            }
            *found.entry(name).or_default() += 1;
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

/// One life of the server: it is killed after so many messages were acknowledged.
fn live_and_die(home: &Home, round: u32, learned: &mut Learned, chance: &mut Chance) {
    let server = home.serve();
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

#[test]
fn what_was_acknowledged_survives_being_killed_again_and_again() {
    let home = Home::new(&[]);
    let (mut chance, mut learned, mut tally) = (Chance::new(seed()), Learned::default(), Tally::default());
    for round in 0..tries("PILLARBOX_CRASHES", CRASHES) {
        live_and_die(&home, round as u32, &mut learned, &mut chance);
        tally.tries += 1;
    }
    let server = home.serve();
    learned.check(server.pop3, &mut tally);
    assert!(learned.deletions.values().any(|acknowledged| *acknowledged), "deletions were under load too");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    tally.conclude("killed");
}

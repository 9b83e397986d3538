//! Every operation on the disk fails once: the first, the second, and so on, until a scripted day of
//! the server goes through untouched. After each nothing is missing that was acknowledged, and the
//! next start works. And a disk that is merely slow: who does not need it does not wait for it.
//!
//! `PILLARBOX_IO_STEP=1` tries each operation; the short form takes one of so many.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
#[path = "power_cut/ledger.rs"]
mod ledger;
mod store_kit;
mod support;

use disk_kit::chance::{Chance, seed, tries};
use disk_kit::tally::Tally;
use disk_kit::{Disk, Fault, in_memory, wrapper};
use ledger::{Ledger, message};
use rustix::process::Signal;
use std::time::{Duration, Instant};
use store_kit::blemishes;
use support::frail::Frail;
use support::wire::{Pop3, Smtp, mailbox, without_trace};
use support::{Ended, Home, Server};
use tempfile::TempDir;

const STEP: usize = 37;
const BOB: &str = "bob@example.org";
const BIN: &str = "bin@example.org";
/// Neither acknowledged nor begun, in the ledger of a run that has no log.
const NEVER: u64 = u64::MAX;

/// A home whose program works on a watched disk, and that disk.
fn home_on_disk() -> (Home, Disk, TempDir) {
    let mut home = Home::new(&[]);
    let base = in_memory();
    home.keep_data_in(&base.path().join("data"));
    let disk = Disk::below(base.path());
    let words = wrapper(&disk.environment());
    home.wrap(&words.iter().map(String::as_str).collect::<Vec<_>>());
    (home, disk, base)
}

/// What the day is made of: name, size, mailbox.
const MAILS: [(&str, usize, &str); 6] = [
    ("small", 800, BOB),
    ("rubbish", 900, BIN),
    ("large", 400_000, BOB),
    ("rubbish too", 70_000, BIN),
    ("another", 5_000, BOB),
    ("last", 300, BOB),
];

/// Mail comes, small and large; it is read; some is deleted.
fn a_day(server: &Server, ledger: &mut Ledger) {
    let greet = || {
        let mut client = Frail::connect(server.smtp)?;
        client.ask(b"EHLO client.example\r\n").map(|_| client)
    };
    let mut client = greet();
    for (name, octets, to) in MAILS {
        let mut answered = None;
        if client.is_none() {
            client = greet();
        }
        if let Some(smtp) = &mut client {
            answered = smtp.deliver(to, &message(name, octets));
        }
        let accepted = match answered.as_deref() {
            Some(reply) if reply.starts_with("250") => 0,
            Some(reply) => {
                // A disk that fails is never the fault of the message.
                assert!(reply.starts_with('4'), "{name}: {reply}");
                NEVER
            }
            None => {
                client = None;
                NEVER
            }
        };
        ledger.note(name, octets, &[to], 0, accepted);
    }
    let _ = read_and_delete(server, ledger);
}

fn read_and_delete(server: &Server, ledger: &mut Ledger) -> Option<()> {
    for (user, last) in [(BOB, &b"NOOP\r\n"[..]), (BIN, b"DELE 1\r\n")] {
        let mut pop3 = Frail::connect(server.pop3)?;
        for command in [format!("USER {user}\r\n").as_bytes(), b"PASS any\r\n"] {
            pop3.ask(command)?;
        }
        if pop3.ask(b"RETR 1\r\n")?.starts_with("+OK") {
            pop3.multi_line()?;
        }
        if !pop3.ask(last)?.starts_with("+OK") || user != BIN {
            pop3.ask(b"QUIT\r\n")?;
            continue;
        }
        let both = pop3.ask(b"DELE 2\r\n")?.starts_with("+OK");
        // Begun; whether it was done shows the answer. One message of two is a deletion too.
        ledger.note_deletion(user, 0, NEVER);
        if pop3.ask(b"QUIT\r\n")?.starts_with("+OK") && both {
            ledger.note_deletion(user, 0, 0);
        }
    }
    Some(())
}

/// One life with one fault. Returns whether the fault was met.
fn fail_once(fault: Fault, nth: u64, tally: &mut Tally) -> bool {
    let (home, disk, _base) = home_on_disk();
    disk.fail(fault, nth);
    let mut ledger = Ledger::default();
    let what = format!("{fault:?} at operation {nth}");
    let ended = match home.try_serve() {
        Ok(server) => {
            a_day(&server, &mut ledger);
            server.signal(Signal::TERM);
            server.wait()
        }
        Err(ended) => ended,
    };
    end_is_in_order(&ended, &what);
    let met = disk.struck() > 0;
    if !met || fault == Fault::Short {
        assert!(ended.status.success(), "{what}: {ended:?}");
        assert_eq!(ledger.acknowledgements().len(), MAILS.len() + 1, "{what}: all was acknowledged");
        assert!(ledger.acknowledgements().iter().all(|at| *at == 0), "{what}: {ledger:?}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ledger.examine(home.data_dir(), 1, &what, tally));
    tally.tries += 1;
    met
}

/// It ends by itself or when it is told to, never by a panic or a signal, and it says why.
fn end_is_in_order(ended: &Ended, what: &str) {
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{what}: {ended:?}");
    assert!(!ended.log.contains("panicked"), "{what}: {ended:?}");
    assert!(ended.status.success() || !ended.log.trim().is_empty(), "{what}: {ended:?}");
}

/// From an operation chosen by chance on, one of so many.
fn fail_each(fault: Fault, chance: &mut Chance) -> Tally {
    let step = tries("PILLARBOX_IO_STEP", STEP) as u64;
    let mut tally = Tally::default();
    let mut nth = 1 + chance.number() % step;
    while fail_once(fault, nth, &mut tally) {
        nth += step;
    }
    tally
}

#[test]
fn whichever_operation_fails_with_eio_nothing_acknowledged_is_missing() {
    let mut chance = Chance::new(seed());
    fail_each(Fault::Once, &mut chance).conclude("one I/O fails (EIO)");
    fail_each(Fault::Ever, &mut chance).conclude("all I/O fails from one on (EIO)");
}

#[test]
fn whichever_operation_finds_no_room_or_writes_half_nothing_acknowledged_is_missing() {
    let mut chance = Chance::new(seed());
    fail_each(Fault::NoRoom, &mut chance).conclude("one I/O finds no room (ENOSPC)");
    fail_each(Fault::Short, &mut chance).conclude("one write is short");
    fail_each(Fault::ShortThenNoRoom, &mut chance).conclude("one write is short, the next finds no room");
}

/// How long the slow disk takes for a sync.
const SLOW: Duration = Duration::from_millis(400);
/// The server is alive: it answers in this time on a busy machine too.
const ALIVE: Duration = Duration::from_secs(5);

/// What needs no commit is done, all of it.
fn others_are_served(server: &Server) {
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect("NOOP", 250);
    smtp.envelope("alice@client.example", &[BOB]);
    smtp.expect("RSET", 250);
    smtp.expect("QUIT", 221);
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    let (_, body) = pop3.body("RETR 1");
    assert!(body.len() > 20_000);
    pop3.body("UIDL");
    pop3.ok("QUIT");
}

#[test]
fn while_a_commit_waits_for_the_disk_everybody_else_is_served() {
    let (home, disk, _base) = home_on_disk();
    let (server, mut tally) = (home.serve(), Tally::default());
    assert_eq!(
        Smtp::open(server.smtp).deliver("alice@client.example", BOB, &message("one", 20_000)).code,
        250
    );
    // A sync that does not end until it is let go.
    disk.slow_syncs(Duration::from_secs(3600));
    let mut sender = Smtp::open(server.smtp);
    sender.envelope("alice@client.example", &["carol@example.org"]);
    sender.expect("DATA", 354);
    sender.line.send(&support::wire::stuffed(&message("two", 1_000)));
    let until = Instant::now() + support::DEADLINE;
    while disk.syncs_waiting() == 0 {
        assert!(Instant::now() < until, "the message is on its way to the disk");
        std::thread::yield_now();
    }
    for _ in 0..20 {
        others_are_served(&server);
    }
    assert_eq!(disk.syncs_waiting(), 1, "all that was answered while one commit waited");
    disk.slow_syncs(Duration::ZERO);
    assert_eq!(sender.reply().code, 250);
    all_are(&mailbox(server.pop3, "carol@example.org"), &[message("two", 1_000)], &mut tally);
    tally.tries += 20;
    assert!(server.stop().status.success());
    blemishes(home.data_dir()).iter().for_each(|finding| tally.damaged(finding));
    tally.conclude("a sync that does not end");
}

/// These messages and no others, in whichever order.
fn all_are(kept: &[Vec<u8>], sent: &[Vec<u8>], tally: &mut Tally) {
    let mut left = sent.to_vec();
    for got in kept.iter().map(|got| without_trace(got)) {
        match left.iter().position(|message| message == got) {
            Some(at) => drop(left.swap_remove(at)),
            None if sent.iter().any(|message| message == got) => tally.doubled("a message"),
            None => tally.damaged("a message is not what was sent"),
        }
    }
    left.iter().for_each(|_| tally.lost("a message"));
}

/// What one of the senders to a slow disk sends; the first of them large mail.
fn slow_mails(sender: usize) -> Vec<Vec<u8>> {
    let octets = if sender == 0 { 400_000 } else { 2_000 };
    (0..2).map(|number| message(&format!("slow-{sender}-{number}"), octets)).collect()
}

#[test]
fn on_a_slow_disk_mail_is_taken_and_nobody_is_kept_waiting_by_it() {
    let (home, disk, _base) = home_on_disk();
    let server = home.serve();
    assert_eq!(
        Smtp::open(server.smtp).deliver("alice@client.example", BOB, &message("one", 20_000)).code,
        250
    );
    disk.slow_syncs(SLOW);
    let mut tally = Tally::default();
    std::thread::scope(|threads| {
        let smtp = server.smtp;
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                threads.spawn(move || {
                    slow_mails(sender).iter().all(|mail| {
                        Smtp::open(smtp).deliver("a@client.example", "carol@example.org", mail).code == 250
                    })
                })
            })
            .collect();
        while !senders.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let since = Instant::now();
            others_are_served(&server);
            assert!(since.elapsed() < ALIVE, "{:?} for what needs no sync", since.elapsed());
            tally.tries += 1;
        }
        assert!(senders.into_iter().all(|sender| sender.join().expect("no panic")), "all is acknowledged");
    });
    disk.slow_syncs(Duration::ZERO);
    let sent: Vec<Vec<u8>> = (0..8).flat_map(slow_mails).collect();
    all_are(&mailbox(server.pop3, "carol@example.org"), &sent, &mut tally);
    assert!(server.stop().status.success());
    blemishes(home.data_dir()).iter().for_each(|finding| tally.damaged(finding));
    tally.conclude("slow disk (400 ms a sync)");
}

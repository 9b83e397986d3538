//! A disk that is in doubt. A sync that failed is not tried again: Linux tells of it once, and may have
//! dropped what it could not write. So nothing is written, synced, cut off or removed any more, and the next
//! start takes of the WAL what its checksums prove. A page that is damaged costs the answers that need it,
//! and no others.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use std::fs;
use support::corpus;
use support::wire::{Pop3, Smtp, mailbox, same, without_trace};
use support::{Ended, Home};

const BOB: &str = "bob@example.org";

/// The program under strace, which lets syncs fail and notes in `strace.txt` what it was told to look at.
fn watched(home: &mut Home, words: &[&str]) {
    let log = home.path().join("strace.txt").display().to_string();
    home.wrap(&[&["strace", "-D", "-f", "-qq", "-y", "-o", &log], words].concat());
}

fn it_ended_because_of_the_disk(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.log.contains("disk I/O error"), "{ended:?}");
}

/// Starts the server on the disk as it is, and looks for what was acknowledged.
fn nothing_is_lost(home: &mut Home, acknowledged: &[Vec<u8>]) {
    home.wrap(&[]);
    let server = home.serve();
    let kept = mailbox(server.pop3, BOB);
    // What was in doubt may be there too.
    assert!((acknowledged.len()..=acknowledged.len() + 1).contains(&kept.len()), "{}", kept.len());
    for (got, want) in kept.iter().zip(acknowledged) {
        same(without_trace(got), want, "what was acknowledged");
    }
    assert!(server.stop().status.success());
    let sound = home.succeed(&["verify"], "");
    assert!(sound.contains("is sound"), "{sound}");
}

#[test]
fn after_a_commit_whose_sync_failed_the_database_is_left_as_it_is() {
    let mut home = Home::new(&[]);
    assert!(home.serve().stop().status.success());
    let calls = "trace=fdatasync,fsync,ftruncate,unlink,unlinkat,pwrite64";
    // Each thread counts for itself, and the writer has one of its own. Only this sync fails.
    watched(&mut home, &["-e", calls, "-e", "inject=fdatasync:error=EIO:when=9"]);
    let server = home.serve();
    // What is half-way in is in the WAL, without a sync.
    let mut large = Smtp::open(server.smtp);
    large.envelope("", &["eve@example.org"]);
    large.expect("DATA", 354);
    large.line.send(&b"a line of a large message\r\n".repeat(50_000));
    let mut smtp = Smtp::open(server.smtp);
    let mut acknowledged = Vec::new();
    loop {
        let message = corpus::of_octets(1_000 + acknowledged.len()).message;
        match smtp.deliver("alice@client.example", BOB, &message).code {
            250 => acknowledged.push(message),
            code => break assert_eq!(code, 451),
        }
    }
    assert!(!acknowledged.is_empty());
    it_ended_because_of_the_disk(&server.wait());
    let log = fs::read_to_string(home.path().join("strace.txt")).unwrap();
    let failed = log.find("EIO").expect("a sync has failed");
    let later: Vec<&str> =
        log[failed..].lines().skip(1).filter(|line| line.contains("pillarbox.db")).collect();
    assert!(later.is_empty(), "{later:?}");
    nothing_is_lost(&mut home, &acknowledged);
}

#[test]
fn a_stop_whose_last_checkpoint_fails_says_so_and_leaves_the_wal() {
    let mut home = Home::new(&[]);
    assert!(home.serve().stop().status.success());
    let database = home.data_dir().join("pillarbox.db");
    let path = database.display().to_string();
    watched(&mut home, &["-P", &path, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"]);
    let server = home.serve();
    let message = corpus::plain().message;
    assert_eq!(Smtp::open(server.smtp).deliver("alice@client.example", BOB, &message).code, 250);
    it_ended_because_of_the_disk(&server.stop());
    assert!(fs::metadata(home.data_dir().join("pillarbox.db-wal")).unwrap().len() > 0);
    nothing_is_lost(&mut home, &[message]);
}

#[test]
fn what_a_crash_has_left_in_the_wal_is_written_once_more_before_mail_comes_in_behind_it() {
    let home = Home::new(&[]);
    let server = home.serve();
    let message = corpus::plain().message;
    assert_eq!(Smtp::open(server.smtp).deliver("alice@client.example", BOB, &message).code, 250);
    server.kill();
    let wal = home.data_dir().join("pillarbox.db-wal");
    assert!(fs::metadata(&wal).unwrap().len() > 0);
    let server = home.serve();
    assert_eq!(fs::metadata(&wal).unwrap().len(), 0);
    let kept = mailbox(server.pop3, BOB);
    assert_eq!(kept.len(), 1);
    same(without_trace(&kept[0]), &message, "what was acknowledged");
}

#[test]
fn a_damaged_page_costs_the_answers_that_need_it_and_no_others() {
    const PAGE: usize = 8192;
    let home = Home::new(&[]);
    let server = home.serve();
    let marked = b"Subject: on the damaged page\r\n\r\nbody\r\n";
    assert_eq!(Smtp::open(server.smtp).deliver("alice@client.example", BOB, marked).code, 250);
    assert!(server.stop().status.success());
    let database = home.data_dir().join("pillarbox.db");
    let mut octets = fs::read(&database).unwrap();
    let at =
        octets.windows(14).position(|octets| octets == b"on the damaged").expect("the message") / PAGE * PAGE;
    octets[at..at + 16].fill(0xee);
    fs::write(&database, octets).unwrap();
    let server = home.serve();
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    assert!(pop3.err("RETR 1").starts_with("-ERR [SYS/TEMP] "));
    server.wait_for_log(&["the database is damaged"]);
    pop3.ok("QUIT");
    Pop3::open(server.pop3, "eve@example.org", "any").ok("QUIT");
    server.signal(rustix::process::Signal::TERM);
    assert!(server.wait().status.success());
}

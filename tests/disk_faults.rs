//! A disk that is full and a disk that fails, end to end: what the clients are told, what goes on,
//! and what is there afterwards.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod disk_kit;
mod store_kit;
mod support;

use disk_kit::tally::Tally;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use store_kit::blemishes;
use support::corpus;
use support::frail::Frail;
use support::wire::{Pop3, Reply, Smtp, mailbox, same, without_trace};
use support::{Home, Server};

const ALICE: &str = "alice@client.example";
const BOB: &str = "bob@example.org";

/// A file system in memory with a bound, unmounted at the end.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(home: &Home, size: &str) -> SmallDisk {
        let path = home.path().join("disk");
        std::fs::create_dir(&path).expect("a directory");
        // The owner of the mount is whoever runs the test.
        let owner = std::fs::metadata(home.path()).expect("it exists");
        use std::os::unix::fs::MetadataExt;
        let options = format!("size={size},mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        as_root(&["mount", "-t", "tmpfs", "-o", &options, "tmpfs", &path.display().to_string()]);
        SmallDisk { path }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes all the room there is, to the last octet.
    fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        let mut piece = 1 << 20;
        while piece > 0 {
            match filler.write(&vec![0; piece]) {
                Ok(octets) if octets > 0 => {}
                _ => piece /= 2,
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", &self.path.display().to_string()]);
    }
}

/// Mounting takes root; a developer's machine gives it by sudo without a question.
fn as_root(words: &[&str]) {
    let direct = Command::new(words[0]).args(&words[1..]).output().expect("the program exists");
    if direct.status.success() {
        return;
    }
    let asked = Command::new("sudo").arg("-n").args(words).output();
    let done = asked.is_ok_and(|output| output.status.success());
    assert!(done, "this test mounts a file system: run it as root, or allow sudo without a password");
}

/// Tries a delivery and goes as far as the server lets it; the last reply.
fn attempt(server: &Server, to: &str, message: &[u8]) -> Reply {
    let mut smtp = Smtp::open(server.smtp);
    for command in [format!("MAIL FROM:<{ALICE}>"), format!("RCPT TO:<{to}>")] {
        let reply = smtp.ask(&command);
        if reply.code != 250 {
            return reply;
        }
    }
    smtp.data(message)
}

#[test]
fn a_copy_that_finds_no_room_leaves_nothing_and_names_the_file_that_was_asked_for() {
    let home = Home::new(&[]);
    let server = home.serve();
    assert_eq!(attempt(&server, BOB, &corpus::of_octets(4 << 20).message).code, 250);
    home.succeed(&["backup", "whole.db"], "");
    let disk = SmallDisk::mount(&home, "2m");
    let target = |name: &str| disk.path.join(name).display().to_string();
    for arguments in [
        &["backup", &target("b.db")][..],
        &["export", BOB, "--mbox", &target("b.mbox")],
        &["export", BOB, "--eml", &target("eml")],
        &["--data-dir", &target("data"), "restore", "whole.db"],
    ] {
        let output = home.run(arguments, "");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).expect("text");
        assert!(told.contains(" cannot be written: ") && !told.contains(".part-"), "{told}");
    }
    let below = |dir: &str| -> Vec<String> {
        let entries = std::fs::read_dir(disk.path.join(dir)).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!((below("eml"), below("data")), (Vec::new(), vec!["pillarbox.lock".to_owned()]));
    assert_eq!(below("").len(), 2);
}

// proves: RFC 1870 §6.4
#[test]
fn a_full_disk_is_said_and_delivery_goes_on_when_there_is_room() {
    let mut home = Home::new(&[]);
    let disk = SmallDisk::mount(&home, "48m");
    home.keep_data_in(&disk.path.join("data"));
    let mut server = home.serve();
    let mut accepted: Vec<Vec<u8>> = Vec::new();
    for number in 0..24 {
        // Some are staged.
        let filler = "0123456789\r\n".repeat(if number % 6 == 5 { 40_000 } else { 50 * number });
        let message = format!("Subject: {number}\r\n\r\nkept before\r\n{filler}").into_bytes();
        assert_eq!(attempt(&server, BOB, &message).code, 250);
        accepted.push(message);
    }
    disk.fill();
    let large = corpus::of_octets(8 << 20);
    for message in [&corpus::of_octets(100_000).message, &large.message] {
        let refused = attempt(&server, BOB, message);
        assert_eq!(refused.code, 452, "{refused:?}");
        assert!(refused.text().starts_with("4.3.1 "), "{refused:?}");
    }
    // Of what is announced as large nothing has to be sent.
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect(&format!("MAIL FROM:<{ALICE}> SIZE={}", large.message.len()), 250);
    let refused = smtp.expect(&format!("RCPT TO:<{BOB}>"), 452);
    assert!(refused.text().starts_with("4.3.1 "), "{refused:?}");
    // Small ones may still find room; in the end they are told the same.
    let refused = loop {
        let message = corpus::of_octets(20_000 + accepted.len()).message;
        let reply = attempt(&server, BOB, &message);
        if reply.code != 250 {
            break reply;
        }
        accepted.push(message);
        assert!(accepted.len() < 10_000, "the disk is full and takes everything");
    };
    assert_eq!(refused.code, 452, "{refused:?}");

    // Reading and deleting go on.
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    let mut ids = pop3.ids();
    assert_eq!(ids.len(), accepted.len());
    all_are(&pop3.all(), &accepted);
    pop3.ok("DELE 1");
    pop3.ok("DELE 2");
    pop3.ok("QUIT");
    accepted.drain(..2);
    ids.drain(..2);
    all_are(&mailbox(server.pop3, BOB), &accepted);
    assert!(!server.has_ended());

    disk.make_room();
    let mut smtp = Smtp::open(server.smtp);
    smtp.expect(&format!("MAIL FROM:<{ALICE}> SIZE={}", large.message.len()), 250);
    smtp.expect(&format!("RCPT TO:<{BOB}>"), 250);
    assert_eq!(smtp.data(&large.message).code, 250, "no restart is needed");
    accepted.push(large.message);
    assert_eq!(blemishes(home.data_dir()), [""; 0], "while it runs");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(blemishes(home.data_dir()), [""; 0], "after its end");
    let server = home.serve();
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    assert!(pop3.ids().starts_with(&ids), "messages keep their ids");
    all_are(&pop3.all(), &accepted);
    pop3.ok("QUIT");
    drop(server);
    drop(disk);
    Tally { tries: accepted.len(), ..Tally::default() }.conclude("full disk (messages compared)");
}

/// The messages of a mailbox, octet by octet and in their order.
#[track_caller]
fn all_are(kept: &[Vec<u8>], accepted: &[Vec<u8>]) {
    assert_eq!(kept.len(), accepted.len());
    for (got, want) in kept.iter().zip(accepted) {
        same(without_trace(got), want, "what was acknowledged");
    }
}

const LATE: &[u8] = b"Subject: too late\r\n\r\nx\r\n";

/// What the clients of a disk that fails were told.
#[derive(Debug, Default)]
struct Told {
    acknowledged: Vec<Vec<u8>>,
    /// Refused, or never answered: they may be there, whole, or not.
    in_doubt: Vec<Vec<u8>>,
    /// Of those, what was answered at all after the first refusal.
    refused_later: usize,
}

/// Delivers until the disk fails; then others try: some have sent all of a message but its end before,
/// one is greeted, one comes anew. None of them may be told that anything is kept.
fn deliver_until_it_fails(server: &Server) -> Told {
    let mut told = Told::default();
    let mut smtp = Smtp::open(server.smtp);
    let mut others: Vec<Option<Frail>> = (0..4).map(|_| greeted(server)).collect();
    let last = others.pop().flatten();
    others.iter_mut().flatten().for_each(all_but_the_end);
    for number in 0..200 {
        // Every third is long enough to be staged.
        let filler = "x".repeat(if number % 3 == 2 { 600 } else { 10 });
        let lines = format!("{filler}\r\n").repeat(if number % 3 == 2 { 800 } else { 1 });
        let message = format!("Subject: {number}\r\n\r\n{lines}").into_bytes();
        smtp.envelope(ALICE, &[BOB]);
        let reply = smtp.data(&message);
        if reply.code == 250 {
            told.acknowledged.push(message);
            continue;
        }
        assert_eq!(reply.code, 451, "{reply:?}");
        assert!(reply.text().starts_with("4.3.0 "), "{reply:?}");
        told.in_doubt.push(message);
        for mut other in others.into_iter().flatten() {
            told.note_late(LATE, other.ask(b".\r\n"));
        }
        for other in [last, greeted(server)] {
            told.note_late(LATE, other.and_then(|mut other| other.deliver(BOB, LATE)));
        }
        return told;
    }
    panic!("the disk was made to fail and nobody noticed");
}

impl Told {
    fn note_late(&mut self, message: &[u8], answer: Option<String>) {
        self.in_doubt.push(message.to_vec());
        if let Some(answer) = answer {
            assert!(answer.starts_with('4'), "after a sync has failed: {answer}");
            self.refused_later += 1;
        }
    }
}

fn greeted(server: &Server) -> Option<Frail> {
    let mut client = Frail::connect(server.smtp)?;
    client.ask(b"EHLO client.example\r\n")?;
    Some(client)
}

/// Begins a message whose end is for later.
fn all_but_the_end(client: &mut Frail) {
    for command in [format!("MAIL FROM:<{ALICE}>"), format!("RCPT TO:<{BOB}>"), "DATA".to_owned()] {
        client.ask(format!("{command}\r\n").as_bytes()).expect("the disk is not asked for that yet");
    }
    client.tell(LATE).expect("it is read");
}

/// Everything that was acknowledged comes first, in its order; what was in doubt may follow, whole.
fn compare(kept: &[Vec<u8>], told: &Told, what: &str) {
    let certain = told.acknowledged.len();
    assert!(kept.len() >= certain, "{what}: {} of {certain}", kept.len());
    all_are(&kept[..certain], &told.acknowledged);
    let mut in_doubt = told.in_doubt.clone();
    for got in &kept[certain..] {
        let at = in_doubt.iter().position(|message| message == without_trace(got));
        in_doubt.remove(at.unwrap_or_else(|| panic!("{what}: nobody has sent this, or only once")));
    }
}

#[test]
fn a_sync_that_fails_is_never_acknowledged_and_ends_the_process() {
    let (mut started, mut refused_later) = (0, 0);
    // From the one of that number on each fails, or that one alone: who tried it again would succeed.
    let from = [1, 2, 3, 4, 6, 7, 9, 11, 13, 16, 20, 30].map(|nth| ("EIO", format!("{nth}+")));
    let alone = [11, 14, 20].map(|nth| ("EIO", nth.to_string()));
    // Even where the reason is a want of room: the kernel may have let go of what it could not write.
    let no_room = ["4+", "9+", "14+", "12"].map(|nth| ("ENOSPC", nth.to_owned()));
    for (error, nth) in from.into_iter().chain(alone).chain(no_room) {
        let mut home = Home::new(&[]);
        // strace counts for each thread by itself; the writer has one to itself.
        let fault = format!("inject=fdatasync,fsync:error={error}:when={nth}");
        home.wrap(&[
            "strace",
            "-D",
            "-f",
            "-qq",
            "-e",
            "trace=fdatasync,fsync",
            "-e",
            &fault,
            "-o",
            "/dev/null",
        ]);
        let what = format!("{error} at sync {nth}");
        let (told, ended) = match home.try_serve() {
            Err(ended) => (Told::default(), ended),
            Ok(server) => {
                started += 1;
                (deliver_until_it_fails(&server), server.wait())
            }
        };
        assert_eq!(ended.status.code(), Some(1), "{what}: {ended:?}");
        last_line_is_clear(&ended.log);
        refused_later += told.refused_later;
        home.wrap(&[]);
        let server = home.serve();
        assert_eq!(blemishes(home.data_dir()), [""; 0], "{what}: after the next start");
        compare(&mailbox(server.pop3, BOB), &told, &what);
        assert_eq!(attempt(&server, BOB, &corpus::plain().message).code, 250);
        assert!(server.stop().status.success());
        assert_eq!(blemishes(home.data_dir()), [""; 0], "{what}: after its end");
    }
    assert!(started > 0, "the fault always came before the server was ready: {}", strace_is_here());
    Tally { tries: started, ..Tally::default() }.conclude("a sync fails while it serves");
    // The server ends meanwhile, and may close before it answers; not each time.
    assert!(refused_later > 0, "nobody was heard after a sync had failed");
}

fn strace_is_here() -> bool {
    Path::new("/usr/bin/strace").exists()
}

fn last_line_is_clear(log: &str) {
    let last = log.trim_end().lines().last().unwrap_or_default().to_lowercase();
    // The disk, or the sync at the start that tries it out.
    assert!(last.contains("disk") || last.contains("syncing"), "the last line says what happened: {log}");
}

#[test]
fn a_second_signal_also_ends_a_server_that_waits_for_the_disk_at_its_end() {
    let mut home = Home::new(&[]);
    let socket = home.path().join("smtp.sock");
    home.set("listen.smtp", &format!("127.0.0.1:0,unix:{}", socket.display()));
    let wal = home.data_dir().join("pillarbox.db-wal").display().to_string();
    // The WAL is cut off once, at the end.
    let slow = "inject=ftruncate:delay_enter=5000000";
    home.wrap(&[
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        &wal,
        "-e",
        "trace=ftruncate",
        "-e",
        slow,
    ]);
    let server = home.serve();
    Smtp::open(server.smtp).deliver(ALICE, BOB, b"Subject: x\r\n\r\nx\r\n");
    server.signal(rustix::process::Signal::TERM);
    // The sockets go when the sessions have ended; then only the store is to be closed.
    while socket.exists() {
        std::thread::yield_now();
    }
    server.signal(rustix::process::Signal::TERM);
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(1), "{}: {ended:?}", strace_is_here());
    assert!(ended.log.contains("stopped at once by a second signal"), "{ended:?}");
    let server = home.serve();
    assert_eq!(mailbox(server.pop3, BOB).len(), 1);
}

//! A disk that is full and a disk that fails, end to end: what the clients are told, what goes on,
//! and what is there afterwards.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::corpus;
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

#[test]
fn a_full_disk_is_said_and_delivery_goes_on_when_there_is_room() {
    let mut home = Home::new(&[]);
    let disk = SmallDisk::mount(&home, "48m");
    home.keep_data_in(&disk.path.join("data"));
    let mut server = home.serve();
    for number in 0..3 {
        let message = format!("Subject: {number}\r\n\r\nkept before\r\n");
        assert_eq!(attempt(&server, BOB, message.as_bytes()).code, 250);
    }
    disk.fill();
    let large = corpus::of_octets(8 << 20);
    for message in [&corpus::of_octets(100_000).message, &large.message] {
        let refused = attempt(&server, BOB, message);
        assert_eq!(refused.code, 452, "{refused:?}");
        assert!(refused.text().starts_with("4.3.1 "), "{refused:?}");
    }
    // Small ones may still find room; in the end they are told the same.
    let mut accepted = 3;
    let refused = loop {
        let reply = attempt(&server, BOB, &corpus::of_octets(20_000).message);
        if reply.code != 250 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 10_000, "the disk is full and takes everything");
    };
    assert_eq!(refused.code, 452, "{refused:?}");

    // Reading and deleting go on.
    let mut pop3 = Pop3::open(server.pop3, BOB, "any");
    assert_eq!(pop3.stat().0, accepted);
    assert!(pop3.body("RETR 1").1.ends_with(b"kept before\r\n"));
    pop3.ok("DELE 1");
    pop3.ok("DELE 2");
    pop3.ok("QUIT");
    assert_eq!(mailbox(server.pop3, BOB).len() as u64, accepted - 2);
    assert!(!server.has_ended());

    disk.make_room();
    assert_eq!(attempt(&server, BOB, &large.message).code, 250, "no restart is needed");
    let kept = mailbox(server.pop3, BOB);
    same(without_trace(kept.last().expect("a message")), &large.message, "after there was room again");
    let ended = server.stop();
    assert!(ended.status.success(), "{ended:?}");
    integrity(&home);
    drop(disk);
}

/// Asks the database itself whether it is whole, through another program.
fn integrity(home: &Home) {
    let script = "import sqlite3, sys\n\
                  print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let path = home.data_dir().join("pillarbox.db");
    let output = Command::new("python3").args(["-c", script]).arg(path).output().expect("python3");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok", "{output:?}");
}

/// Delivers until the disk fails; the messages that were acknowledged.
fn deliver_until_it_fails(server: &Server) -> Vec<Vec<u8>> {
    let mut acknowledged = Vec::new();
    let mut smtp = Smtp::open(server.smtp);
    for number in 0..200 {
        // Every third is long enough to be staged.
        let filler = "x".repeat(if number % 3 == 2 { 600 } else { 10 });
        let lines = format!("{filler}\r\n").repeat(if number % 3 == 2 { 800 } else { 1 });
        let message = format!("Subject: {number}\r\n\r\n{lines}").into_bytes();
        smtp.envelope(ALICE, &[BOB]);
        let reply = smtp.data(&message);
        if reply.code != 250 {
            assert_eq!(reply.code, 451, "{reply:?}");
            assert!(reply.text().starts_with("4.3.0 "), "{reply:?}");
            return acknowledged;
        }
        acknowledged.push(message);
    }
    panic!("the disk was made to fail and nobody noticed");
}

#[test]
fn a_sync_that_fails_is_never_acknowledged_and_ends_the_process() {
    let mut started = 0;
    // Even where the reason is a want of room: the kernel may have let go of what it could not write.
    let faults =
        [1, 2, 3, 4, 6, 9, 13].map(|nth| ("EIO", nth)).into_iter().chain([("ENOSPC", 4), ("ENOSPC", 9)]);
    for (error, nth) in faults {
        let mut home = Home::new(&[]);
        // strace counts for each thread by itself; the writer has one to itself.
        let fault = format!("inject=fdatasync,fsync:error={error}:when={nth}+");
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
        let acknowledged = match home.try_serve() {
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(1), "fault {nth}: {ended:?}");
                last_line_is_clear(&ended.log);
                Vec::new()
            }
            Ok(server) => {
                started += 1;
                let acknowledged = deliver_until_it_fails(&server);
                let ended = server.wait();
                assert_eq!(ended.status.code(), Some(1), "fault {nth}: {ended:?}");
                last_line_is_clear(&ended.log);
                acknowledged
            }
        };
        home.wrap(&[]);
        let server = home.serve();
        let kept = mailbox(server.pop3, BOB);
        // What was in doubt may be there too, whole.
        assert!(
            (acknowledged.len()..=acknowledged.len() + 1).contains(&kept.len()),
            "fault {nth}: {}",
            kept.len()
        );
        for (got, want) in kept.iter().zip(&acknowledged) {
            same(without_trace(got), want, "what was acknowledged");
        }
        assert_eq!(attempt(&server, BOB, &corpus::plain().message).code, 250);
        assert!(server.stop().status.success());
        integrity(&home);
    }
    assert!(started > 0, "the fault always came before the server was ready: {}", strace_is_here());
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

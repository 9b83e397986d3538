//! What keeps mail when something is lost, and takes it elsewhere: backup, restore, verify, export, import
//! and retention, as an operator sees them.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

#[path = "keep/interrupted.rs"]
mod interrupted;
#[path = "keep/owners.rs"]
mod owners;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::corpus;
use support::wire::{Pop3, Smtp, mailbox, same};
use support::{Home, Server};

const BOB: &str = "bob@example.org";

fn deliver(server: &Server, to: &str, messages: &[Vec<u8>]) {
    let mut smtp = Smtp::open(server.smtp);
    for message in messages {
        assert_eq!(smtp.deliver("alice@client.example", to, message).code, 250);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = corpus::small().into_iter().map(|sample| sample.message).collect();
    samples.push(corpus::of_octets(700_000).message);
    samples
}

/// Runs the program to its end, which must be a bad one; what it complained of.
fn fail(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(arguments, "");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn uids(server: &Server) -> Vec<String> {
    let lines = Pop3::open(server.pop3, BOB, "any").body("UIDL").1;
    let lines = String::from_utf8(lines).unwrap();
    lines.lines().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
}

/// Delivers to Bob until it is told to stop; what was acknowledged, with how many when.
fn deliver_under(server: &Server, during: impl FnOnce() -> usize) -> (Vec<Vec<u8>>, usize) {
    let smtp = server.smtp;
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut smtp = Smtp::open(smtp);
            let mut sent = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let lines = if sent.len() % 10 == 9 { 5_000 } else { 3 };
                let body = format!("line of message {}\r\n", sent.len()).repeat(lines);
                let message = format!("Subject: {}\r\n\r\n{body}", sent.len()).into_bytes();
                assert_eq!(smtp.deliver("alice@client.example", BOB, &message).code, 250);
                sent.push(message);
                acknowledged.store(sent.len(), Ordering::SeqCst);
            }
            sent
        });
        while acknowledged.load(Ordering::SeqCst) < 25 {
            std::thread::yield_now();
        }
        let before = acknowledged.load(Ordering::SeqCst);
        during();
        stop.store(true, Ordering::SeqCst);
        (sender.join().unwrap(), before)
    })
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it_began_octet_for_octet() {
    let home = Home::new(&[]);
    let server = home.serve();
    let file = home.path().join("backup.db");
    let (sent, before) = deliver_under(&server, || home.succeed(&["backup", "backup.db"], "").len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(home.succeed(&["verify"], "").contains("is sound"), "beside the server");
    let original = mailbox(server.pop3, BOB);
    assert_eq!(original.len(), sent.len());
    let old_uids = uids(&server);
    assert!(server.stop().status.success());

    let mut elsewhere = Home::new(&[]);
    elsewhere.keep_data_in(&home.path().join("elsewhere"));
    let file = file.to_str().unwrap();
    assert!(elsewhere.succeed(&["verify", file], "").contains("is sound"));
    elsewhere.succeed(&["restore", file], "");
    assert!(elsewhere.succeed(&["verify"], "").contains("is sound"));
    let server = elsewhere.serve();
    let restored = mailbox(server.pop3, BOB);
    assert!(restored.len() >= before, "{} of {before} that were acknowledged before", restored.len());
    for (number, (got, want)) in restored.iter().zip(&original).enumerate() {
        same(got, want, &format!("message {number}"));
    }
    // Unique-ids stay, and none that was given after the backup is given again.
    assert_eq!(uids(&server), old_uids[..restored.len()]);
    deliver(&server, BOB, &samples()[..1]);
    let new = uids(&server).pop().unwrap();
    assert!(!old_uids.contains(&new), "{new} was given before");
}

#[test]
fn a_backup_takes_the_place_of_no_other_file_and_a_restore_of_no_database() {
    let home = Home::new(&[]);
    assert!(fail(&home, &["backup", "b.db"]).contains("nothing to back up"));
    let server = home.serve();
    deliver(&server, BOB, &samples());
    fs::write(home.path().join("b.db"), "precious").unwrap();
    assert!(fail(&home, &["backup", "b.db"]).contains("there already"));
    assert_eq!(fs::read(home.path().join("b.db")).unwrap(), b"precious");
    let told = home.succeed(&["backup", "--force", "b.db"], "");
    assert!(told.starts_with("backed up 9 messages in 1 mailbox ("), "{told}");
    let database = home.data_dir().join("pillarbox.db");
    let identity = |file: &Path| fs::metadata(file).unwrap().ino();
    let live = identity(&database);
    std::os::unix::fs::symlink(home.data_dir(), home.path().join("by-link")).unwrap();
    for file in [database.to_str().unwrap(), "by-link/pillarbox.db", "by-link/pillarbox.db-journal"] {
        assert!(fail(&home, &["backup", "--force", file]).contains("is a name of the database itself"));
    }
    assert_eq!(identity(&database), live);
    assert!(fail(&home, &["restore", "b.db"]).contains("another pillarbox serve uses it"));
    drop(server.stop());
    assert!(fail(&home, &["restore", "b.db"]).contains("there already"));
    assert!(fail(&home, &["backup", "no/such/b.db"]).contains("cannot be written"));
    let names: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains("part")), "nothing is left: {names:?}");
}

#[test]
fn a_backup_takes_the_place_of_nothing_but_a_file() {
    let home = Home::new(&[]);
    home.succeed(&["account", "add", BOB, "--password-stdin"], "secret");
    let path = |name: &str| home.path().join(name);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    fs::create_dir(path("directory")).unwrap();
    fs::write(path("file"), "old").unwrap();
    std::os::unix::fs::symlink("file", path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", path("dangling")).unwrap();
    for (name, kind) in [
        ("pipe", "a pipe"),
        ("directory", "a directory"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
    ] {
        let before = fs::symlink_metadata(path(name)).unwrap();
        for arguments in
            [&["backup", "--force", name][..], &["backup", name], &["export", BOB, "--mbox", name]]
        {
            let told = fail(&home, arguments);
            assert!(told.contains(&format!("{name} is {kind}, and nothing takes its place")), "{told}");
        }
        let after = fs::symlink_metadata(path(name)).unwrap();
        assert_eq!((after.ino(), after.file_type()), (before.ino(), before.file_type()), "{name}");
    }
    assert_eq!(fs::read(path("file")).unwrap(), b"old");
    home.succeed(&["backup", "--force", "file"], "");
    assert!(fail(&home, &["backup", "-"]).contains("cannot go to standard output"));
}

/// Changes a database as nobody should.
async fn spoil(file: &Path, sql: &'static str) {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).foreign_keys(false);
    sqlx::raw_sql(sql).execute(&mut options.connect().await.unwrap()).await.unwrap();
}

#[test]
fn verify_finds_everything_that_is_wrong_and_says_it_in_one_line_each() {
    let home = Home::new(&[]);
    let server = home.serve();
    deliver(&server, BOB, &samples());
    home.succeed(&["backup", "good.db"], "");
    drop(server);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (sql, finding) in [
        ("UPDATE mailbox SET octets = octets + 1", "mailbox bob@example.org: it counts"),
        ("UPDATE mailbox SET messages = 0", "mailbox bob@example.org: it counts 0 messages"),
        ("UPDATE body SET copies = 7 WHERE id = 1", "body 1: it counts 7 messages, and has 1"),
        ("DELETE FROM body WHERE id = 2", "message 2: it has no body"),
        ("UPDATE body SET data = x'00' WHERE id = 1", "body 1: it is told as"),
        ("DELETE FROM chunk WHERE key & 65535 = 2", "with a hole between them"),
        ("DELETE FROM chunk WHERE key & 65535 = 0", "with a hole between them"),
        ("DELETE FROM chunk WHERE key = (SELECT max(key) FROM chunk)", "octets in"),
        ("INSERT INTO chunk VALUES (777 << 16, x'00')", "body 777: it is gone, and its chunks are there"),
        ("INSERT INTO chunk VALUES (1 << 16, x'00')", "body 1: it has chunks that it does not count"),
        ("UPDATE message SET octets = 9 WHERE id = 3", "message 3: it is told as 9 octets"),
        ("UPDATE message SET mailbox = 99 WHERE id = 3", "message 3: it has no mailbox"),
        (
            "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'message'",
            "the ids of messages may be given twice",
        ),
        ("DELETE FROM sqlite_sequence WHERE name = 'body'", "the ids of bodies may be given twice"),
    ] {
        let bad = home.path().join("bad.db");
        fs::copy(home.path().join("good.db"), &bad).unwrap();
        runtime.block_on(spoil(&bad, sql));
        let output = home.run(&["verify", "bad.db"], "");
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{sql}: {told}");
        assert!(told.lines().any(|line| line.contains(finding)), "{sql}: {told}");
    }
    // A page of noise in the middle of the file.
    let mut octets = fs::read(home.path().join("good.db")).unwrap();
    octets[8192 * 3..8192 * 4].fill(0xa5);
    fs::write(home.path().join("bad.db"), octets).unwrap();
    let output = home.run(&["verify", "bad.db"], "");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.lines().all(|line| line.len() < 200 && line.starts_with("database: ")), "{told}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("pillarbox: bad.db: ") && told.contains("wrong"), "{told}");
    assert_eq!(home.run(&["restore", "--data-dir", "new", "bad.db"], "").status.code(), Some(1));
    assert!(!home.path().join("new/pillarbox.db").exists(), "what is not whole is not restored");
}

#[test]
fn a_file_that_is_no_backup_is_told_to_be_none() {
    let home = Home::new(&[]);
    fs::write(home.path().join("text"), "no database\n".repeat(100)).unwrap();
    fs::write(home.path().join("empty"), "").unwrap();
    fs::create_dir(home.path().join("directory")).unwrap();
    for (name, reason) in [
        ("text", "text is not a Pillarbox database: it is not an SQLite file, or it is damaged"),
        ("empty", "empty is not a Pillarbox database: it is empty"),
        ("directory", "directory is a directory, and no database"),
        ("nothing", "nothing cannot be looked at: No such file or directory (os error 2)"),
    ] {
        for command in ["verify", "restore"] {
            let told = fail(&home, &[command, name]);
            assert!(told.starts_with(&format!("pillarbox: {reason}")) && told.lines().count() == 1, "{told}");
        }
    }
}

#[test]
fn a_mailbox_goes_out_to_an_mbox_or_to_files_and_comes_in_again_octet_for_octet() {
    let home = Home::new(&[]);
    let server = home.serve();
    let tricky =
        b"Subject: From\r\n\r\nFrom a b 10:20\r\n>From c\r\n\r\nFrom d e 10:20:30 2024\r\n\r\n\r\n".to_vec();
    deliver(&server, BOB, &[samples(), vec![tricky]].concat());
    let kept = mailbox(server.pop3, BOB);
    home.succeed(&["export", BOB, "--mbox", "bob.mbox"], "");
    home.succeed(&["export", BOB, "--eml", "files"], "");
    assert!(fail(&home, &["export", BOB, "--eml", "bob.mbox"]).contains("bob.mbox is no directory"));
    let file = fs::read(home.path().join("bob.mbox")).unwrap();
    same(&home.run(&["export", BOB, "--mbox", "-"], "").stdout, &file, "standard output");
    for (to, from) in [("mbox@example.org", "bob.mbox"), ("files@example.org", "files")] {
        home.succeed(&["import", to, from], "");
        let got = mailbox(server.pop3, to);
        assert_eq!(got.len(), kept.len(), "{from}");
        for (number, (got, want)) in got.iter().zip(&kept).enumerate() {
            same(got, want, &format!("{from}, message {number}"));
        }
    }
    let again = home.succeed(&["export", BOB, "--eml", "files"], "");
    assert!(again.starts_with("exported 0 messages"), "{again}");
    // What a crash has cut short, and what is no file, is no message that is there already.
    let mut files: Vec<_> =
        fs::read_dir(home.path().join("files")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let (whole, moved) = (fs::read(&files[0]).unwrap(), home.path().join("moved"));
    fs::write(&files[0], &whole[..whole.len() / 2]).unwrap();
    fs::rename(&files[1], &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &files[1]).unwrap();
    let again = home.succeed(&["export", BOB, "--eml", "files"], "");
    assert!(again.starts_with("exported 2 messages"), "{again}");
    assert_eq!(fs::read(&files[0]).unwrap(), whole);
    assert!(fs::symlink_metadata(&files[1]).unwrap().is_file());
    let mode = |name: &str| fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("bob.mbox"), mode("files")), (0o600, 0o700));
    assert!(fail(&home, &["export", BOB, "--mbox", "bob.mbox"]).contains("there already"));
    assert!(home.succeed(&["verify"], "").contains("is sound"));
}

#[test]
fn a_maildir_is_imported_in_the_order_of_arrival_and_what_is_too_large_is_told() {
    let mut home = Home::closed(&[(BOB, "secret")]);
    home.set("limits.message_size", "64 KiB");
    let put = |name: &str, text: &str| {
        let file = home.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    put("Maildir/cur/200.b:2,S", "Subject: second\n\n.dot\nend");
    put("Maildir/new/1000.c", "Subject: third\r\n\r\n");
    put("Maildir/new/99.a", "Subject: first\n\n");
    put("Maildir/new/300.large", &"a line of it\n".repeat(6_000));
    put("Maildir/tmp/1.unfinished", "Subject: never\n\n");
    let told = fail(&home, &["import", BOB, "Maildir"]);
    assert!(told.contains("300.large: message 1 is larger than limits.message_size"), "{told}");
    assert!(told.contains("imported 3 messages into bob@example.org; 1 larger"), "{told}");
    let server = home.serve();
    let mut pop3 = Pop3::open(server.pop3, BOB, "secret");
    assert_eq!(pop3.stat().0, 3);
    for (number, want) in [
        (1, "Subject: first\r\n\r\n"),
        (2, "Subject: second\r\n\r\n.dot\r\nend\r\n"),
        (3, "Subject: third\r\n\r\n"),
    ] {
        assert_eq!(String::from_utf8(pop3.body(&format!("RETR {number}")).1).unwrap(), want);
    }
    // What lies in a Maildir or is called .eml is one message, whatever its first line says.
    let tricky = "From a line\r\n\r\nFrom b\r\n\r\nend\r\n";
    for name in ["Odd/cur/1.a", "folder/a.eml", "b.EML"] {
        put(name, tricky);
    }
    put("c", "From x@y Tue Nov 24 17:05:05 2026\nSubject: a\n\n\nFrom x@y Tue Nov 24 17:05:05 2026\n\nb\n\n");
    pop3.ok("QUIT");
    home.succeed(&["import", BOB, "Odd", "folder", "b.EML", "c"], "");
    let got = Pop3::open(server.pop3, BOB, "secret").all();
    assert_eq!(got.len(), 3 + 3 + 2);
    assert!(got[3..6].iter().all(|message| message == tricky.as_bytes()));
    // What has no octet is no message, and what has no header is told.
    put("nothing", "");
    put("nothing.eml", "");
    put("noise", "\u{1}\u{2}: no header\n");
    let output = home.run(&["import", BOB, "nothing", "nothing.eml", "noise"], "");
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told, "imported 1 message into bob@example.org; 1 without an octet was left out\n");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("pillarbox: nothing.eml: message 1 has not one octet and is left out\n"), "{told}");
    assert!(told.contains("warning: noise: message 1 begins with no header field"), "{told}");
    // An alias takes mail in, and has none to give out.
    home.succeed(&["alias", "add", "postmaster@example.org", BOB], "");
    home.succeed(&["import", "postmaster@example.org", "noise"], "");
    for command in [
        &["export", "postmaster@example.org", "--mbox", "x"][..],
        &["message", "list", "postmaster@example.org"],
    ] {
        let told = fail(&home, command);
        assert!(told.contains("the alias postmaster@example.org leads to bob@example.org"), "{told}");
    }
    assert!(fail(&home, &["import", "nobody@example.org", "Maildir"]).contains("is no account"));
    assert!(fail(&home, &["import", "x@elsewhere.example", "Maildir"]).contains("accounts.domains"));
}

#[test]
fn the_end_of_a_session_is_the_time_to_throw_away_what_it_kept() {
    let filter = ("log.filter", "info,pillarbox::store=debug");
    let home = Home::new(&[("retention.max_messages", "2"), filter]);
    let server = home.serve();
    let messages: Vec<_> = (0..5).map(|n| format!("Subject: {n}\r\n\r\n").into_bytes()).collect();
    let mut session = Pop3::open(server.pop3, BOB, "any");
    deliver(&server, BOB, &messages);
    // From here on no commit is a reason to look, and time is none for a minute.
    server.wait_for_log(&["retention spares a mailbox"]);
    session.ok("QUIT");
    let ended = Instant::now();
    server.wait_for_log(&["retention has thrown away", "messages=3"]);
    assert!(ended.elapsed() < Duration::from_secs(30), "it waits for no round: {:?}", ended.elapsed());
}

#[test]
fn retention_is_told_to_clients_and_in_the_log_and_takes_the_oldest() {
    let mut home = Home::new(&[]);
    let server = home.serve();
    let expire = |server: &Server| {
        let (_, lines) = Pop3::open(server.pop3, "x@example.org", "any").body("CAPA");
        let lines = String::from_utf8(lines).unwrap();
        lines.lines().find(|line| line.starts_with("EXPIRE")).map(ToOwned::to_owned)
    };
    assert_eq!(expire(&server), None, "a bound on size alone, that of open mode, has no days");
    let messages: Vec<_> = (0..5).map(|n| format!("Subject: {n}\r\n\r\n").into_bytes()).collect();
    deliver(&server, BOB, &messages);
    drop(server.stop());

    home.set("retention.max_messages", "2");
    home.set("retention.max_age", "30 days");
    let server = home.serve();
    server.wait_for_log(&["retention has thrown away", "rule=\"max_messages\"", "messages=3"]);
    assert_eq!(mailbox(server.pop3, BOB).len(), 2);
    assert!(String::from_utf8_lossy(&mailbox(server.pop3, BOB)[0]).contains("Subject: 3"));
    assert_eq!(expire(&server).as_deref(), Some("EXPIRE 30"));
    drop(server.stop());

    home.set("retention.max_messages", "off");
    home.set("retention.max_age", "12h");
    assert_eq!(expire(&home.serve()).as_deref(), Some("EXPIRE 0"));
    home.set("retention.max_age", "off");
    home.set("retention.total_size", "off");
    assert_eq!(expire(&home.serve()).as_deref(), Some("EXPIRE NEVER"));
}

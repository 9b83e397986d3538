//! Clients that fetch. What they have written is compared with what a plain POP3 connection shows.

use super::senders::perl_version;
use super::support::corpus::Sample;
use super::support::programs::a_user_for_getmail;
use super::support::wire::{Smtp, mailbox, same, shown};
use super::support::{Home, Server};
use super::{needs, samples, script, succeed, table, version};
use std::fs::{create_dir, read, read_dir, write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const BOB: &str = "bob@example.org";

/// A server whose Bob has the samples, and the messages as they are in his mailbox.
struct Full {
    home: Home,
    server: Server,
    samples: Vec<&'static Sample>,
    messages: Vec<Vec<u8>>,
}

impl Full {
    fn new() -> Full {
        Full::with(|_| true)
    }

    fn with(wanted: fn(&Sample) -> bool) -> Full {
        let home = Home::new(&[]);
        let server = home.serve();
        let mut smtp = Smtp::open(server.smtp);
        let samples: Vec<&Sample> = samples().iter().filter(|sample| wanted(sample)).collect();
        for sample in &samples {
            assert_eq!(smtp.deliver("alice@client.example", BOB, &sample.message).code, 250);
        }
        let messages = mailbox(server.pop3, BOB);
        Full { home, server, samples, messages }
    }

    /// A new folder below the home.
    fn folder(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        create_dir(&path).expect("a folder");
        path
    }

    fn left(&self) -> usize {
        mailbox(self.server.pop3, BOB).len()
    }

    /// Holds what a client has written against the mailbox, in any order, after `cleaned` has taken
    /// off what the client documents to add, and `made` has done to the mailbox's message what the
    /// client documents to do.
    fn compare(
        &self,
        client: &str,
        folder: &Path,
        cleaned: impl Fn(Vec<u8>) -> Vec<u8>,
        made: impl Fn(&[u8]) -> Vec<u8>,
    ) {
        let mut got: Vec<Vec<u8>> =
            files(folder).iter().map(|path| cleaned(read(path).expect("a file"))).collect();
        assert_eq!(got.len(), self.messages.len(), "{client}: as many as in the mailbox");
        for (message, sample) in self.messages.iter().zip(&self.samples) {
            let want = made(message);
            let what = format!("{client}, {}", sample.name);
            match got.iter().position(|got| *got == want) {
                Some(at) => drop(got.swap_remove(at)),
                None => {
                    let near = got.iter().max_by_key(|got| common(got, &want));
                    let near = near.unwrap_or_else(|| panic!("{what}: missing {}", shown(&want)));
                    same(near, &want, &what);
                }
            }
        }
    }
}

/// Octets that two messages share at their start.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The files below a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = read_dir(folder).expect("a folder").flatten().map(|e| e.path()).collect();
    found.sort();
    found
}

/// The message with the line ends of a Unix file.
fn with_lf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        match line {
            [inner @ .., b'\r', b'\n'] => {
                out.extend_from_slice(inner);
                out.push(b'\n');
            }
            other => out.extend_from_slice(other),
        }
    }
    out
}

fn as_it_came(message: Vec<u8>) -> Vec<u8> {
    message
}

/// The message without the one field of its header that begins with `start` and holds `mark`; the
/// lines that continue the field go with it.
fn without_field(message: &[u8], start: &str, mark: &str) -> Vec<u8> {
    let mut from = 0;
    let mut rest = message;
    while !rest.is_empty() && !rest.starts_with(b"\n") {
        let mut end = 0;
        loop {
            end += rest[end..].iter().position(|&octet| octet == b'\n').map_or(rest.len() - end, |at| at + 1);
            if !rest[end..].starts_with(b" ") && !rest[end..].starts_with(b"\t") {
                break;
            }
        }
        let field = String::from_utf8_lossy(&rest[..end]);
        if field.starts_with(start) && field.contains(mark) {
            return [&message[..from], &message[from + end..]].concat();
        }
        from += end;
        rest = &message[from..];
    }
    panic!("no {start} with {mark} in {}", shown(message));
}

#[test]
fn curl_fetches() {
    needs("curl", "curl");
    let full = Full::new();
    let folder = full.folder("curl");
    let curl = |what: &str, arguments: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "120", "-u", &format!("{BOB}:any")]).args(arguments);
        command.arg(format!("pop3://{}/{path}", full.server.pop3));
        succeed(what, &mut command, Stdio::null()).stdout
    };
    let list = String::from_utf8(curl("curl, LIST", &[], "")).expect("ASCII");
    assert_eq!(list.lines().count(), full.messages.len(), "{list}");
    for (number, message) in (1..).zip(&full.messages) {
        let text = curl("curl, RETR", &[], &number.to_string());
        write(folder.join(number.to_string()), text).expect("a file");
        assert!(list.contains(&format!("{number} {}\r\n", message.len())), "{list}");
    }
    full.compare("curl", &folder, as_it_came, <[u8]>::to_vec);
    let uidl = String::from_utf8(curl("curl, UIDL", &["-X", "UIDL"], "")).expect("ASCII");
    assert_eq!(uidl.lines().count(), full.messages.len(), "{uidl}");
    let top = curl("curl, TOP", &["-X", "TOP 1 0"], "");
    assert!(full.messages[0].starts_with(top.trim_ascii_end()), "{}", shown(&top));
    curl("curl, DELE", &["--head", "-X", "DELE 1"], "");
    assert_eq!(full.left(), full.messages.len() - 1);
    let operations = ["LIST", "RETR of every sample", "UIDL", "TOP", "DELE"];
    table::done("curl, pop3", &version("curl", "--version"), &operations);
}

#[test]
fn mpop_fetches() {
    needs("mpop", "mpop");
    let full = Full::new();
    let maildir = full.folder("mpop");
    for inner in ["cur", "new", "tmp"] {
        create_dir(maildir.join(inner)).expect("a folder");
    }
    let mpop = |keep: &str| {
        let mut command = Command::new("mpop");
        command.env("HOME", full.home.path());
        command.args(["--host=127.0.0.1", &format!("--port={}", full.server.pop3.port())]);
        command.args(["--tls=off", "--auth=user", &format!("--user={BOB}"), "--passwordeval=echo any"]);
        command.args([&format!("--keep={keep}"), "--received-header=off"]);
        command.arg(format!("--uidls-file={}", full.home.path().join("uidls").display()));
        command.arg(format!("--delivery=maildir,{}", maildir.display()));
        succeed("mpop", &mut command, Stdio::null());
    };
    mpop("on");
    full.compare("mpop", &maildir.join("new"), as_it_came, with_lf);
    assert_eq!(full.left(), full.messages.len());
    mpop("on");
    assert_eq!(files(&maildir.join("new")).len(), full.messages.len(), "nothing new by the UIDLs");
    mpop("off");
    assert_eq!(full.left(), 0);
    let operations = ["every sample, pipelined", "kept and not fetched again", "deleted"];
    table::done("mpop", &version("mpop", "--version"), &operations);
}

#[test]
fn fetchmail_fetches() {
    needs("fetchmail", "fetchmail");
    // fetchmail 6 reads lines into 8 KiB and spoils those that do not fit.
    let full = Full::with(|sample| sample.name != "100 KB line");
    let (kept, deleted) = (full.folder("kept"), full.folder("deleted"));
    let fetchmail = |folder: &Path, how: &str| {
        let mda = full.home.path().join("mda");
        let text = format!("#!/bin/sh\nexec cat > \"$(mktemp {}/XXXXXX)\"\n", folder.display());
        write(&mda, text).expect("a script");
        let rc = full.home.path().join("fetchmailrc");
        let port = full.server.pop3.port();
        let text = format!(
            "set no bouncemail\nset no spambounce\n\
             poll 127.0.0.1 protocol POP3 port {port} auth password:\n  \
             user '{BOB}' password 'any' sslproto '' no rewrite no mimedecode {how}\n  \
             mda '/bin/sh {}'\n",
            mda.display()
        );
        write(&rc, text).expect("a file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&rc, private).expect("our own file");
        let mut command = Command::new("fetchmail");
        command.env("HOME", full.home.path()).env("FETCHMAILHOME", full.home.path());
        command.args(["--nosyslog", "--nodetach", "-f"]).arg(&rc);
        succeed("fetchmail", &mut command, Stdio::null());
    };
    // fetchmail puts a Received line of its own above the others.
    let cleaned = |message: Vec<u8>| without_field(&message, "Received:", "(fetchmail-");
    fetchmail(&kept, "keep");
    full.compare("fetchmail, keep", &kept, cleaned, with_lf);
    assert_eq!(full.left(), full.messages.len());
    fetchmail(&deleted, "fetchall");
    full.compare("fetchmail, fetchall", &deleted, cleaned, with_lf);
    assert_eq!(full.left(), 0);
    let operations = ["every sample but the 100 KB line, kept", "the same, deleted"];
    table::done("fetchmail", &version("fetchmail", "--version"), &operations);
}

#[test]
fn getmail_fetches() {
    needs("getmail", "getmail6");
    let full = Full::new();
    let maildir = full.folder("maildir");
    for inner in ["cur", "new", "tmp"] {
        create_dir(maildir.join(inner)).expect("a folder");
    }
    let user = a_user_for_getmail(full.home.path(), &maildir);
    let getmail = |delete: &str| {
        let rc = full.home.path().join("getmailrc");
        let port = full.server.pop3.port();
        let text = format!(
            "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\n\
             username = {BOB}\npassword = any\n\
             [destination]\ntype = Maildir\npath = {}/\n{user}\
             [options]\nread_all = false\ndelete = {delete}\nverbose = 0\n",
            maildir.display()
        );
        write(&rc, text).expect("a file");
        let mut command = Command::new("getmail");
        command.env("HOME", full.home.path()).arg("--getmaildir").arg(full.home.path());
        command.arg("--rcfile").arg(&rc);
        succeed("getmail", &mut command, Stdio::null());
    };
    // getmail puts a Received line of its own above the others, and says to whom it delivered.
    let cleaned = |message: Vec<u8>| {
        let message = without_field(&message, "Received:", "with POP3 getmail6");
        without_field(&message, "Delivered-To:", "unknown")
    };
    getmail("false");
    full.compare("getmail", &maildir.join("new"), cleaned, with_lf);
    assert_eq!(full.left(), full.messages.len());
    getmail("true");
    assert_eq!(files(&maildir.join("new")).len(), full.messages.len(), "nothing new by the UIDLs");
    assert_eq!(full.left(), 0);
    let operations = ["every sample, kept", "not fetched again", "deleted"];
    table::done("getmail6", &version("getmail", "--version"), &operations);
}

#[test]
fn pythons_poplib_fetches() {
    needs("python3", "python3");
    let full = Full::new();
    let folder = full.folder("poplib");
    let mut command = Command::new("python3");
    command.arg(script("poplib_fetch.py"));
    command.args([&full.server.pop3.port().to_string(), BOB]).arg(&folder);
    succeed("poplib", &mut command, Stdio::null());
    full.compare("poplib", &folder, as_it_came, <[u8]>::to_vec);
    assert_eq!(full.left(), 0);
    let operations = ["every sample", "CAPA STAT LIST UIDL TOP RETR DELE RSET NOOP QUIT"];
    table::done("Python poplib", &version("python3", "--version"), &operations);
}

#[test]
fn perls_net_pop3_fetches() {
    needs("perl", "perl");
    let full = Full::new();
    let folder = full.folder("net-pop3");
    let mut command = Command::new("perl");
    command.arg(script("net_pop3.pl"));
    command.args([&full.server.pop3.port().to_string(), BOB]).arg(&folder);
    succeed("Net::POP3", &mut command, Stdio::null());
    full.compare("Net::POP3", &folder, as_it_came, with_lf);
    assert_eq!(full.left(), 0);
    let operations = ["every sample", "STAT LIST UIDL TOP RETR DELE RSET QUIT"];
    table::done("Perl Net::POP3", &perl_version("Net::POP3"), &operations);
}

#[test]
fn telnet_fetches() {
    needs("telnet", "telnet");
    needs("expect", "expect");
    let full = Full::new();
    let mut command = Command::new("expect");
    command.env("LC_ALL", "C.UTF-8").arg(script("telnet_fetch.exp"));
    command.args([&full.server.pop3.port().to_string(), BOB]);
    let output = succeed("telnet, pop3", &mut command, Stdio::null());
    // The terminal makes more CRs of each line end, and echoes what was typed.
    let screen = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let want = String::from_utf8(full.messages[0].clone()).expect("the plain one").replace('\r', "");
    assert!(screen.contains(&format!("octets\n{want}.\n")), "{screen}");
    assert_eq!(full.left(), full.messages.len() - 1);
    table::done("telnet, pop3", "inetutils", &["USER PASS STAT LIST RETR DELE QUIT"]);
}

//! The real server as the other end of a conversation: the program itself, started anew for each one
//! in the world that `bare_smtp.rs` and `bare_pop3.rs` describe.

use crate::bare_pop3::{HOSTNAME, MESSAGES, PASSWORD, USER};
use crate::bare_smtp::{self, MESSAGE_OCTETS_MAX, RECIPIENTS_MAX};
use crate::script::{Other, Script};
use crate::support::wire::{Line, Smtp};
use crate::support::{Home, Server};
use rustix::process::Signal;
use std::fs;
use std::net::Shutdown;

/// How long a server waits for a client that falls silent in its script; no other client is hurried.
const SILENCE: &str = "2s";

/// A world made once, of which each conversation gets a copy.
pub(crate) struct World {
    made: Home,
    settings: Vec<(&'static str, String)>,
}

impl World {
    /// That of the SMTP conversations.
    pub(crate) fn smtp() -> World {
        let made = Home::closed(&[("carol@example.org", "c")]);
        for (name, password) in [
            (bare_smtp::USER, bare_smtp::PASSWORD),
            ("bob@example.org", "x"),
            ("postmaster@example.org", "x"),
        ] {
            made.succeed(&["account", "add", name, "--password-stdin", "--quota", "off"], password);
        }
        made.succeed(&["alias", "add", "team@example.org", "alice@example.org", "bob@example.org"], "");
        deliver(&made, "carol@example.org", &MESSAGES[..1]);
        let settings = vec![
            ("hostname", "mx.example.org".to_owned()),
            ("limits.message_size", MESSAGE_OCTETS_MAX.to_string()),
            // The one account without a quota of its own is over this one.
            ("limits.default_quota", "1".to_owned()),
            ("limits.recipients", RECIPIENTS_MAX.to_string()),
        ];
        World { made, settings }
    }

    /// That of the POP3 conversations.
    pub(crate) fn pop3() -> World {
        let made = Home::closed(&[(USER, PASSWORD)]);
        deliver(&made, USER, &MESSAGES);
        World { made, settings: vec![("hostname", HOSTNAME.to_owned())] }
    }

    /// A server in a copy of this world, connected to by its listener `kind`.
    pub(crate) fn serve(&self, script: &Script, kind: &str) -> Real {
        let mut home = Home::new(&[("accounts.mode", "closed"), ("accounts.domains", "example.org")]);
        for (key, value) in &self.settings {
            home.set(key, value);
        }
        home.set(&format!("listen.{kind}"), "127.0.0.1:0");
        if script.falls_silent() {
            let protocol = if kind == "pop3" { kind } else { "smtp" };
            home.set(&format!("limits.{protocol}_timeout"), SILENCE);
        }
        copy(&self.made, &home);
        let server = home.serve();
        let address = server.address(kind).expect("it listens there");
        Real { line: Line::connect(address), server }
    }
}

fn deliver(home: &Home, to: &str, messages: &[&str]) {
    let server = home.serve();
    let mut smtp = Smtp::open(server.smtp);
    for message in messages {
        assert_eq!(smtp.deliver("sender@example.com", to, message.as_bytes()).code, 250);
    }
    assert!(server.stop().status.success());
}

fn copy(from: &Home, to: &Home) {
    fs::create_dir(to.data_dir()).expect("a new directory");
    for entry in fs::read_dir(from.data_dir()).expect("a directory").flatten() {
        fs::copy(entry.path(), to.data_dir().join(entry.file_name())).expect("a copy");
    }
}

/// A server of its own, and one connection to it.
pub(crate) struct Real {
    line: Line,
    server: Server,
}

impl Other for Real {
    fn send(&mut self, octets: &[u8]) {
        // The server may have closed; what it has said last tells whether it should have.
        self.line.try_send(octets);
    }

    fn line(&mut self) -> Option<String> {
        let octets = self.line.octets();
        let text = String::from_utf8(octets).expect("replies are UTF-8");
        if text.is_empty() {
            return None;
        }
        Some(text.strip_suffix("\r\n").unwrap_or_else(|| panic!("half a line: {text:?}")).to_owned())
    }

    fn fall_silent(&mut self) {
        // Nothing is said from here on, which the server notices by itself.
    }

    fn stop(&mut self) {
        self.server.signal(Signal::TERM);
    }

    fn secure(&mut self) {
        panic!("this server was given no certificate");
    }

    fn left_over(&mut self) -> String {
        // A client that is done: the server answers what it has, and closes. It may have done so before.
        let _ = self.line.stream().shutdown(Shutdown::Write);
        String::from_utf8_lossy(&self.line.rest()).into_owned()
    }
}

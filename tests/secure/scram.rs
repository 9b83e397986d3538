//! SCRAM-SHA-256-PLUS and SCRAM-SHA-256 as GNU SASL speaks them. Its program knows SMTP with STARTTLS; for
//! TLS from the first octet, and for POP3, it makes the messages of SASL alone, and openssl the TLS
//! that they are bound to.

use super::matrix::base64;
use super::tunnel::{Start, Tunnel};
use super::world::{ANN, PASSWORD, World};
use crate::support::programs::{needs, succeed};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

fn gsasl(mechanism: &str) -> Command {
    needs("gsasl", "gsasl");
    let mut command = Command::new("gsasl");
    // It reads its arguments in the character set of the locale.
    command.env("LC_ALL", "C.UTF-8").args(["--client", "--mechanism", mechanism]);
    command.args(["--authentication-id", ANN, "--password", PASSWORD]);
    if !mechanism.ends_with("-PLUS") {
        // Where it could bind it refuses to do without.
        command.arg("--no-cb");
    }
    command
}

// proves: RFC 5802 §3
// proves: RFC 9266 §2
#[test]
fn gsasl_logs_in_after_starttls() {
    let world = World::closed();
    for (mechanism, tls) in [
        ("SCRAM-SHA-256-PLUS", "NORMAL"),
        ("SCRAM-SHA-256", "NORMAL"),
        ("SCRAM-SHA-256", "NORMAL:-VERS-TLS1.3"),
        ("PLAIN", "NORMAL"),
    ] {
        let mut command = gsasl(mechanism);
        command.args(["--smtp", "--starttls", "--verbose", "--priority", tls, "--x509-ca-file"]);
        command.arg(&world.ca).args(["localhost", &world.port("submission").to_string()]);
        let what = format!("gsasl, {mechanism}, {tls}");
        let output = succeed(&what, &mut command, Stdio::null());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(&format!("AUTH {mechanism}\n")), "{what}: {said}");
        assert!(said.contains("235 2.7.0 logged in"), "{what}: {said}");
        let version = if tls == "NORMAL" { "TLSv1.3" } else { "TLSv1.2" };
        world.server.wait_for_log(&[
            "login",
            "proto=\"submission\"",
            version,
            "cipher=\"TLS",
            "ip=127.0.0.1",
        ]);
    }
}

/// gsasl that makes the messages of SASL and leaves it to us to carry them.
struct Client {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Client {
    /// With `binding` for -PLUS, in base64.
    fn new(mechanism: &str, binding: &str) -> Client {
        let mut command = gsasl(mechanism);
        command.arg("--quiet").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("gsasl");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut client = Client { child, stdout };
        assert_eq!(client.line(), mechanism);
        if mechanism.ends_with("-PLUS") {
            client.say(binding);
        }
        client
    }

    fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("gsasl takes it");
    }

    /// Its next message. What it asks for stands before it, in the same line. It ends without a message
    /// when it does not trust the server.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("gsasl says something");
        assert!(line.ends_with('\n'), "gsasl has given up");
        line.trim_end().rsplit(": ").next().unwrap_or_default().to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server's next line, without what openssl says between.
fn reply(tunnel: &mut Tunnel, is_pop3: bool) -> String {
    let pop3 = ["+ ", "+OK", "-ERR"];
    loop {
        let line = tunnel.line();
        let is_smtp = line.len() > 3 && line.bytes().take(3).all(|octet| octet.is_ascii_digit());
        if if is_pop3 { pop3.iter().any(|start| line.starts_with(start)) } else { is_smtp } {
            return line;
        }
    }
}

/// The last reply of a login that gsasl and openssl make together. `change` is what becomes of the
/// binding on the way to gsasl.
fn log_in(world: &World, (listener, start): (&str, Start), mechanism: &str, change: fn(&mut [u8])) -> String {
    let is_pop3 = listener.starts_with("pop3");
    let (mut tunnel, exported) = Tunnel::with_binding(world.local(listener), start, &world.ca);
    let digits = exported.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).expect("ASCII"));
    let mut binding: Vec<u8> = digits.map(|two| u8::from_str_radix(two, 16).expect("hexadecimal")).collect();
    change(&mut binding);
    let mut client = Client::new(mechanism, &base64(&binding));
    if start == Start::AtOnce {
        reply(&mut tunnel, is_pop3);
    }
    if !is_pop3 {
        tunnel.say("EHLO client.example");
        while !reply(&mut tunnel, is_pop3).starts_with("250 ") {}
    }
    tunnel.say(&format!("AUTH {mechanism}"));
    let mut last = reply(&mut tunnel, is_pop3);
    // First, final, and the empty message after which the server says that it is done.
    for message in 0..3 {
        let Some(challenge) = last.strip_prefix("334 ").or(last.strip_prefix("+ ")) else { break };
        if message > 0 {
            client.say(challenge);
        }
        tunnel.say(&client.line());
        last = reply(&mut tunnel, is_pop3);
    }
    tunnel.say("QUIT");
    reply(&mut tunnel, is_pop3);
    last
}

const DOORS: [(&str, Start); 4] = [
    ("submission", Start::Smtp),
    ("submissions", Start::AtOnce),
    ("pop3", Start::Pop3),
    ("pop3s", Start::AtOnce),
];

// proves: RFC 9266 §2
#[test]
fn gsasls_scram_is_taken_at_every_door() {
    let world = World::closed();
    for door in DOORS {
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"] {
            let last = log_in(&world, door, mechanism, |_| {});
            assert!(last.starts_with("235 ") || last.starts_with("+OK "), "{door:?}, {mechanism}: {last}");
        }
    }
}

// proves: RFC 5802 §5.1
#[test]
fn a_binding_to_another_connection_is_refused_and_counts_as_a_failed_login() {
    let world = World::closed();
    for door in [DOORS[0], DOORS[3]] {
        let last = log_in(&world, door, "SCRAM-SHA-256-PLUS", |binding| binding[7] ^= 1);
        assert!(last.starts_with("535 5.7.8 ") || last.starts_with("-ERR "), "{door:?}: {last}");
        let proto = format!("proto=\"{}\"", door.0.trim_end_matches('s'));
        let line = world.server.wait_for_log(&["auth failed", &proto]);
        assert!(line.ends_with("reason=\"a channel binding of another connection\" ip=127.0.0.1"), "{line}");
    }
}
